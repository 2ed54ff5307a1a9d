"""The Space's page: IFD and reversed IFD of one pair. gradio comes with the Space, not with this project."""

from pathlib import Path

import evaluate
import gradio as gr

# A fixed list: whoever may name any model may also fill the memory.
MODELS = ("HuggingFaceTB/SmolLM2-135M", "openai-community/gpt2")
TEMPLATES = ("none", "alpaca", "vicuna", "wizardlm")
MAX_LENGTH = 1024  # GPT-2 has no more positions

ifd = evaluate.load(str(Path(__file__).with_name("ifd.py")), module_type="measurement")


def measure(instruction: str, input: str, response: str, model_id: str, template: str) -> dict:
    """All numbers of one pair."""
    rows = {"instructions": [instruction], "inputs": [input], "responses": [response]}
    found = ifd.compute(**rows, model_id=model_id, template=template, max_length=MAX_LENGTH)
    return {name: values[0] for name, values in found.items() if isinstance(values, list)}


page = gr.Interface(
    fn=measure,
    inputs=[
        gr.Textbox(label="instruction", lines=2),
        gr.Textbox(label="input (may stay empty)", lines=2),
        gr.Textbox(label="response", lines=6),
        gr.Dropdown(list(MODELS), value=MODELS[0], label="model"),
        gr.Dropdown(list(TEMPLATES), value=TEMPLATES[0], label="prompt template"),
    ],
    outputs=gr.JSON(label="scores"),
    title="IFD and reversed IFD",
    description="Does the instruction help the model with the response (ifd_ppl below 1), and the response with the "
    "instruction (rifd_ppl below 1)?",
)

if __name__ == "__main__":
    page.launch()
