"""Why a row was kept or dropped, in words."""
