"""The plain training loop that `fakescan train` is measured against: transformers, torch, a DataLoader, one process.

    python -m benchmarks.plain_train DATA --model M --steps 60 --batch 32

Prints one line of JSON: samples of each step and the Unix times at which the steps were done.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Train and say when each step was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    arguments = parser.parse_args()

    import torch
    from PIL import Image
    from torch.utils.data import DataLoader
    from transformers import CLIPImageProcessor, LlamaTokenizerFast, LlavaForConditionalGeneration, LlavaProcessor

    torch.manual_seed(0)
    records = json.loads((arguments.data / "data_json" / "train.json").read_text())
    model: Any = LlavaForConditionalGeneration.from_pretrained(arguments.model, dtype=torch.float32).train()
    tokenizer = LlamaTokenizerFast.from_pretrained(arguments.model)
    processor = LlavaProcessor(
        CLIPImageProcessor.from_pretrained(arguments.model), tokenizer,
        patch_size=model.config.vision_config.patch_size, vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )  # fmt: skip
    tokenizer.padding_side = "right"

    def collate(chosen: list[dict[str, Any]]) -> dict[str, Any]:
        images = [Image.open(arguments.data / record["image"]).convert("RGB") for record in chosen]
        questions = [record["conversations"][0]["value"] for record in chosen]
        answers = [record["conversations"][1]["value"] + tokenizer.eos_token for record in chosen]
        texts = [f"{question} {answer}" for question, answer in zip(questions, answers, strict=True)]
        batch = processor(images=images, text=texts, return_tensors="pt", padding=True)
        labels = batch["input_ids"].clone()
        labels[batch["attention_mask"] == 0] = -100
        asked = processor(images=images[:1], text=questions[:1], return_tensors="pt")["input_ids"].shape[1]
        labels[:, :asked] = -100
        return {**batch, "labels": labels}

    loader = DataLoader(
        records, batch_size=arguments.batch, shuffle=True, drop_last=True, num_workers=1, collate_fn=collate
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.lr, weight_decay=0.0)
    done: list[float] = []
    while len(done) < arguments.steps:
        for batch in loader:
            loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            done.append(time.time())
            if len(done) == arguments.steps:
                break
    print(json.dumps({"samples": arguments.batch, "done": done}))


if __name__ == "__main__":
    main()
