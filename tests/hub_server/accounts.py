"""Who asks: the users, organisations and tokens of the local Hub, and what each may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from answers import RefusalError, Request

USER, OTHER_USER = "tester", "stranger"
ORG, READ_ORG = "lab", "library"  # where the user may write, and where only read
WRITE_TOKEN, READ_TOKEN = "hf_" + "w" * 34, "hf_" + "r" * 34
OTHER_TOKEN = "hf_" + "o" * 34
ROLES = {USER: {ORG: "write", READ_ORG: "read"}, OTHER_USER: {READ_ORG: "admin"}}  # by user and organisation
ORGS = (ORG, READ_ORG)
BAD_TOKEN = "Invalid credentials in Authorization header"  # these very words tell the client that it is the token


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a user with the role of the token, or nobody."""

    name: str | None = None
    role: str | None = None

    @property
    def anonymous(self) -> bool:
        """Whether no token came."""
        return self.name is None

    def may_read(self, namespace: str) -> bool:
        """Whether the private repositories of this user or organisation are shown."""
        return self.name == namespace or namespace in ROLES.get(self.name or "", {})

    def belongs_to(self, namespace: str) -> bool:
        """Whether the user, with a token that may write, may write there."""
        return self.name == namespace or ROLES.get(self.name or "", {}).get(namespace) in ("write", "admin")

    def may_write(self, namespace: str) -> bool:
        """Whether this caller may write there."""
        return self.role == "write" and self.belongs_to(namespace)


TOKENS = {
    WRITE_TOKEN: Caller(USER, "write"),
    READ_TOKEN: Caller(USER, "read"),
    OTHER_TOKEN: Caller(OTHER_USER, "write"),
}


def caller_of(request: Request) -> Caller:
    """The owner of the token in the header.

    Raises:
        RefusalError: 401 where there is a token that is unknown, or no longer valid: the Hub does not tell which.
    """
    header = request.headers.get("authorization")
    if header is None:
        return Caller()
    caller = TOKENS.get(header.removeprefix("Bearer "))
    if caller is None:
        raise RefusalError(401, BAD_TOKEN)
    return caller


def check_login(caller: Caller) -> None:
    """Raises a 401 for what needs a token, where none came."""
    if caller.anonymous:
        raise RefusalError(401, "Invalid username or password.")


def who_am_i(caller: Caller) -> dict[str, Any]:
    """What `whoami-v2` tells of a caller."""
    check_login(caller)
    orgs = [
        {
            "type": "org",
            "id": f"id-of-{org}",
            "name": org,
            "fullname": org.title(),
            "roleInOrg": role,
            "isEnterprise": False,
        }
        for org, role in ROLES.get(caller.name, {}).items()
    ]
    token = {"displayName": f"{caller.role} token", "role": caller.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    return {
        "type": "user",
        "id": f"id-of-{caller.name}",
        "name": caller.name,
        "fullname": caller.name.title(),
        "email": f"{caller.name}@example.org",
        "emailVerified": True,
        "canPay": False,
        "isPro": False,
        "orgs": orgs,
        "auth": {"type": "access_token", "accessToken": token},
    }
