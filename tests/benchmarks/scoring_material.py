"""The models and the rows of the scoring benchmark."""

import json
from pathlib import Path

import torch
from scoring_baselines import Rows
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, LlamaConfig

from hub_cards.rows import DataArguments, load_rows
from reflection.oracles.recorded import RecordedOracle
from reflection.prompts import load_prompts
from reflection.reflect import Asking, as_original, reflect_batch
from scoring.ifd import Scorer
from scoring.likelihood import LikelihoodEngine
from scoring.templates import get_template

QUICKSTART = Path(__file__).parents[2] / "recipes/quickstart"
STUDENT, BIG = "student", "llama-2-7b"
CONFIGS = {
    "smollm2-135m": LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
    "gpt2-124m": GPT2Config(),
    BIG: LlamaConfig(max_position_embeddings=4096),  # the class's defaults are this model's
}
SHAPES = (STUDENT, *CONFIGS)
MAX_LENGTH = {"gpt2-124m": 1024}
SHORT_TOKENS = 98
VARIANTS = 4


def load(shape: str, dtype_name: str, device: str, max_batch_tokens: int | None = None) -> Scorer:
    """A model of that shape, the student's tokenizer and the template of the published scores."""
    dtype, place = getattr(torch, dtype_name), torch.device(device)
    tokenizer = AutoTokenizer.from_pretrained(QUICKSTART / "student")
    if shape == STUDENT:
        model = AutoModelForCausalLM.from_pretrained(QUICKSTART / "student", dtype=dtype).to(place)
    else:
        torch.manual_seed(0)
        with place:  # made where it stays: 7B parameters take long on a CPU and may not fit there
            model = AutoModelForCausalLM.from_config(CONFIGS[shape], dtype=dtype)
    max_length = MAX_LENGTH.get(shape, 2048)
    tokenizer.model_max_length = int(1e30)  # every way cuts its texts itself
    engine = LikelihoodEngine(model.eval(), max_length, max_batch_tokens)
    return Scorer(engine, tokenizer, get_template("vicuna"), max_length)


def find_rows(name: str, n_rows: int, scorer: Scorer) -> Rows:
    """The first rows of a set; `variants` are those of a quarter as many rows."""
    if name == "variants":
        return rows_of_all_variants(max(n_rows // VARIANTS, 1))
    lines = (QUICKSTART / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = list(map(json.loads, lines))
    if name == "short":
        rows = [row for row in rows if len(scorer.tokenizer(row["output"])["input_ids"]) <= SHORT_TOKENS]
    return {key: [row.get(key, "") for row in rows[:n_rows]] for key in ("instruction", "input", "output")}


def rows_of_all_variants(n_rows: int) -> Rows:
    """The first rows of the quickstart, the variants of a row next to each other."""
    base = load_rows(DataArguments(str(QUICKSTART / "data/rows.jsonl"), limit=n_rows)).dataset
    oracle = RecordedOracle(str(QUICKSTART / "data/completions.jsonl"))
    asking = Asking(load_prompts(), can_resample=oracle.can_resample)
    original = as_original(base[:])
    instruction = reflect_batch(original, "reflect_instruction", oracle, asking)
    response = reflect_batch(original, "reflect_response", oracle, asking)
    both = reflect_batch(instruction, "reflect_both", oracle, asking)
    parts = (original, instruction, response, both)
    return {
        key: [one[key][row] for row in range(len(base)) for one in parts] for key in ("instruction", "input", "output")
    }
