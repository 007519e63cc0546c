"""Constrained beam search of Hugging Face transformers over the same lazy decoder, and ours, in turns, a request a round.

In: our bench program (`micro`), which writes weights, codes and the history to a folder. The peer is `generate` with
`num_beams` and `prefix_allowed_tokens_fn` over a model whose layers are those of `decoder_torch.py`: the same weights, the
context computed once and not copied by beam, earlier levels in a `DynamicCache`, allowed codes looked up in a dictionary of
prefixes made beforehand. Out: for each width of the beam medians and spreads, the ratio, how many items are the same and
how far scores of equal rank lie apart, as text and with --out as JSON. Never judges.

    pip install transformers==5.23.0
    python3 benches/peers/decoder_transformers.py --ours "target/release/deps/micro-HASH --beside"
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from pathlib import Path

from decoder_torch import agreement, build
from step_torch import KEEP, Side, in_turns, spread


def generator(built):
    """A function that answers the one request by `generate`."""
    import torch
    from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import CausalLMOutputWithPast

    # Codes of all levels, then BOS.
    bos = built.levels * built.size

    class Config(PreTrainedConfig):
        model_type = "lazy_decoder"

    class LazyDecoder(PreTrainedModel, GenerationMixin):
        config_class = Config
        main_input_name = "input_ids"

        def __init__(self, config):
            super().__init__(config)
            self.anchor = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
            self.post_init()

        def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, **_):
            return {"input_ids": input_ids[:, -1:], "past_key_values": past_key_values}

        def forward(self, input_ids, past_key_values, attention_mask=None, **_):
            level, rows = past_key_values.get_seq_length(), len(input_ids)
            if level == 0:
                x = built.bos.expand(1, rows, built.dim)
            else:
                x = built.input_of(input_ids[:, 0] - (level - 1) * built.size, level)[None]
            past = [
                [(layer.keys[None, :, 0, at], layer.values[None, :, 0, at]) for at in range(level)]
                for layer in (past_key_values.layers[at] for at in range(built.layers if level else 0))
            ] or [[] for _ in range(built.layers)]
            x = built.step(x, *self.seen, past)
            for at, layer in enumerate(past):
                key, value = (part[0, :, None, None] for part in layer[-1])
                past_key_values.update(key, value, at)
            logits = x.new_full((rows, 1, bos + 1), float("-inf"))
            logits[:, 0, level * built.size : (level + 1) * built.size] = built.logits_of(x, level)[0]
            return CausalLMOutputWithPast(logits=logits, past_key_values=past_key_values)

    config = Config(num_hidden_layers=built.layers, hidden_size=built.dim, num_attention_heads=1, vocab_size=bos + 1)
    model = LazyDecoder(config).eval()
    allowed, item = {}, {}
    for index, codes in enumerate(built.codes):
        path = tuple(code + level * built.size for level, code in enumerate(codes))
        item[path] = index
        for level, token in enumerate(path):
            allowed.setdefault(path[:level], {})[token] = None
    allowed = {prefix: list(tokens) for prefix, tokens in allowed.items()}
    # A beam that has left the trie has no score; it must be allowed something.
    continues = lambda _, tokens: allowed.get(tuple(tokens[1:].tolist()), [0])
    start = torch.tensor([[bos]])

    def answer():
        model.seen = built.context(built.histories)
        out = model.generate(
            start, attention_mask=torch.ones_like(start), num_beams=built.beams, num_return_sequences=built.k,
            do_sample=False, max_new_tokens=built.levels, length_penalty=0.0, prefix_allowed_tokens_fn=continues,
            return_dict_in_generate=True, output_scores=True, pad_token_id=0, eos_token_id=None, use_cache=True,
        )
        return out.sequences, out.sequences_scores

    return answer, lambda sequences: [item[tuple(path)] for path in sequences[:, 1:].tolist()]


def theirs(folder, count, threads):
    """The peer's side; the protocol of ours."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    transformers.logging.set_verbosity_error()
    with torch.inference_mode():
        answer, items = generator(build(folder))
        sequences, scores = answer()
        print("ready", flush=True)
        for _ in range(count):
            sys.stdin.readline()
            start = time.perf_counter()
            sequences, scores = answer()
            print(time.perf_counter() - start, flush=True)
    outcome = {"items": [items(sequences)], "scores": [scores.tolist()]}
    outcome["name"] = f"transformers {transformers.__version__} generate, PyTorch {torch.__version__} f32"
    print(json.dumps(outcome), flush=True)


def compare(args, beams):
    cores = {int(core) for core in args.cores.split(",")} if args.cores else None
    count = str(args.warm + args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        ours = Side([*shlex.split(args.ours), "decode-one", folder, count, str(beams)], cores=cores).ready()
        command = [args.python, __file__, "--theirs", folder, "--rounds", count, "--threads", str(args.threads)]
        other = Side(command, KEEP, cores).ready()
        processor = in_turns(ours, other, args.warm, args.rounds)
        us, them = ours.finish(), other.finish()
    mine, peer = spread(ours.seconds[args.warm :]), spread(other.seconds[args.warm :])
    row = {"peer": them["name"], "requests": 1, "beams": beams, "ours": mine, "theirs": peer}
    row |= {"ratio": peer["median"] / mine["median"], "ratioOfFastest": peer["fastest"] / mine["fastest"]}
    row["processorSeconds"] = dict(zip(("ours", "theirs"), processor))
    row |= agreement(us, them)
    milliseconds = lambda side: " ".join(f"{1e3 * side[key]:8.2f}" for key in ("median", "fastest", "slowest"))
    print(f"beam {beams:<4} {row['peer']}  ours {milliseconds(mine)} ms   theirs {milliseconds(peer)} ms"
          f"   ratio {row['ratio']:.2f} (fastest {row['ratioOfFastest']:.2f}, processor"
          f" {processor[1] / max(processor[0], 1e-9):.2f})   shared {row['sharedOfTheBest']:.4f}"
          f"   scores within {row['largestScoreDifference']:.1e}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", help="command of our side, up to and with --beside")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch, transformers and numpy")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm", type=int, default=3, help="rounds before those that count")
    parser.add_argument("--beams", default="8,32,128")
    parser.add_argument("--cores", default="", help="as 0,1: both sides run on these cores only")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch; our request runs on one")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--theirs", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(args.theirs, args.rounds, args.threads)
    rows = [compare(args, int(beams)) for beams in args.beams.split(",")]
    if args.out:
        report = {"what": "constrained beam search", "threads": args.threads, "rounds": args.rounds,
                  "date": datetime.date.today().isoformat(), "machine": platform.processor() or platform.machine(),
                  "loadAverage": os.getloadavg(), "rows": rows}
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
