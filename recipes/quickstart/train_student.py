"""Train the quickstart's student from scratch: the shipped `recipes/quickstart/student/` is the output of

    python recipes/quickstart/train_student.py --output_dir recipes/quickstart/student

About 35 minutes on 2 CPU cores. It sees the 2,015 rows of `data/student_rows.jsonl` and none of the 96 rows that the
quickstart recycles. Each row is read as a base model might meet it: the response alone, the instruction alone, the
response after its instruction and the instruction after its response, so that all four losses mean something.
"""

import argparse
import json
import random
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from scoring.templates import get_template, reverse_prompt

HERE = Path(__file__).parent
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
BLOCK_LENGTH = 1024
COPIED_CHARACTERS = 400


def train_tokenizer(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that begins every text with BOS, as Llama's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[BOS, EOS, PAD], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=2048
    )


def documents(row: dict[str, str], spaced: bool) -> list[tuple[str, str]]:
    """What one row is read as: (context, target) texts; the loss is on the target.

    `spaced` takes Vicuna's training format, else the format of scoring. The last document, a text said twice, teaches
    so small a model to look back at its context, which it would not learn from two thousand rows otherwise.
    """
    vicuna = get_template("vicuna")
    question, answer = row["instruction"] + row["input"], row["output"]
    separator = vicuna.completion_prefix if spaced else ""
    return [
        ("", question),
        ("", answer),
        (vicuna.prompt(row["instruction"], row["input"]) + separator, answer),
        (reverse_prompt(vicuna, answer) + separator, question),
        (answer[:COPIED_CHARACTERS] + "\n", answer[:COPIED_CHARACTERS]),
    ]


def encode(tokenizer: PreTrainedTokenizerFast, context: str, target: str) -> tuple[list[int], list[int]]:
    """Token ids of context, target and EOS, and the labels: those of the context masked."""
    start = len(tokenizer(context)["input_ids"])
    ids = tokenizer(context + target + EOS)["input_ids"]
    return ids, [-100] * start + ids[start:]


def blocks(encoded: list[tuple[list[int], list[int]]], epochs: int) -> Dataset:
    """All documents once an epoch in random order, end to end, cut into blocks of `BLOCK_LENGTH` tokens.

    A document may see the ones before it in its block: so the model meets long contexts, which single rows seldom are.
    """
    order = random.Random(0)
    ids: list[int] = []
    labels: list[int] = []
    for _ in range(epochs):
        for document_ids, document_labels in order.sample(encoded, len(encoded)):
            ids += document_ids
            labels += document_labels
    starts = range(0, len(ids) - BLOCK_LENGTH, BLOCK_LENGTH)
    return Dataset.from_dict(
        {
            "input_ids": [ids[start : start + BLOCK_LENGTH] for start in starts],
            "labels": [labels[start : start + BLOCK_LENGTH] for start in starts],
        }
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of 2.6 million parameters with freshly drawn weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--max_steps", type=int, default=-1, help="stop early, to try the script out")
    args = parser.parse_args()

    set_seed(0)
    rows = [json.loads(line) for line in (HERE / "data/student_rows.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [text for index, row in enumerate(rows) for text in documents(row, spaced=index % 2 == 1)]
    tokenizer = train_tokenizer([context + target for context, target in texts], vocab_size=4096)
    encoded = [encode(tokenizer, context, target) for context, target in texts]
    trainer = Trainer(
        model=build_model(tokenizer),
        train_dataset=blocks(encoded, args.epochs),
        args=TrainingArguments(
            output_dir=str(args.output_dir),
            num_train_epochs=1,
            max_steps=args.max_steps,
            per_device_train_batch_size=4,
            learning_rate=3e-3,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            weight_decay=0.1,
            adam_beta2=0.98,
            logging_steps=50,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            seed=0,
        ),
    )
    trainer.train()
    model = trainer.model.to(torch.bfloat16)  # half the size; scoring reads it back in float32
    model.save_pretrained(args.output_dir)
    tokenizer.save_pretrained(args.output_dir)


if __name__ == "__main__":
    main()
