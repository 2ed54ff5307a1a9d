"""The Space's page: the win rate of pasted reviews. gradio comes with the Space, not with this project."""

from pathlib import Path

import evaluate
import gradio as gr

win_rate = evaluate.load(str(Path(__file__).with_name("win_rate.py")))


def measure(reviews: str, reviews_reverse: str) -> dict:
    """All numbers of reviews that were pasted one a line; of a review its first line is enough."""
    lines = [column.strip("\n").split("\n") if column.strip() else [] for column in (reviews, reviews_reverse)]
    if not lines[0] or len(lines[0]) != len(lines[1]):
        raise gr.Error(f"There are {len(lines[0])} and {len(lines[1])} lines; paste as many of both, and at least one.")
    return win_rate.compute(reviews=lines[0], reviews_reverse=lines[1])


page = gr.Interface(
    fn=measure,
    inputs=[
        gr.Textbox(label="marks with the model's answer shown first, a pair a line (8 7)", lines=8),
        gr.Textbox(label="marks with the baseline's answer shown first", lines=8),
    ],
    outputs=gr.JSON(label="win rate"),
    title="Win rate by a pairwise judge",
    description="Each pair of answers is judged in both orders; the marks stand in the order shown, from 0 to 10.",
)

if __name__ == "__main__":
    page.launch()
