import json

from training.log import log_entries, mean_loss, write_log

HISTORY = [
    {"step": 2, "epoch": 0.5, "loss": 3.0, "learning_rate": 1e-4, "grad_norm": 2.0, "num_tokens": 10.0, "entropy": 3.5},
    {"step": 3, "epoch": 0.75, "loss": 1.5, "learning_rate": 5e-5, "grad_norm": float("nan"), "num_tokens": 20.0},
    {"step": 3, "epoch": 0.75, "train_runtime": 1.0, "train_loss": 9.0},
]


def test_a_line_a_logged_step(tmp_path):
    write_log(tmp_path, log_entries(HISTORY))
    assert [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()] == [
        {"step": 2, "epoch": 0.5, "loss": 3.0, "learning_rate": 1e-4, "grad_norm": 2.0, "tokens": 10},
        {"step": 3, "epoch": 0.75, "loss": 1.5, "learning_rate": 5e-5, "grad_norm": None, "tokens": 20},
    ]


def test_the_mean_counts_the_steps_since_the_line_before():
    assert mean_loss(log_entries(HISTORY)) == (2 * 3.0 + 1 * 1.5) / 3


def test_without_steps_or_with_a_loss_that_is_no_number_there_is_no_mean():
    assert mean_loss([]) is None
    assert mean_loss([*log_entries(HISTORY), {"step": 4, "loss": None}]) is None
