"""Constrained beam search of Hugging Face transformers over the same lazy decoder, and ours, in turns, a request a round.

In: our bench program (`micro`), which writes weights, codes and the history to a folder. The peer is `generate` with
`num_beams` and `prefix_allowed_tokens_fn` over a model whose layers are those of `decoder_torch.py`: the same weights, the
context computed once and not copied by beam, earlier levels in a `DynamicCache`, allowed codes looked up in a dictionary of
prefixes made beforehand. Out: for each width of the beam medians and spreads, the ratio, how many items are the same and
how far scores of equal rank lie apart, as text and with --out as JSON. Never judges.

    pip install transformers==5.23.0
    python3 benches/peers/decoder_transformers.py --ours "target/release/deps/micro-HASH --beside"
"""

import tempfile

import turns
from decoder_torch import build


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


def theirs(args):
    """The peer's side."""
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    transformers.logging.set_verbosity_error()
    with torch.inference_mode():
        answer, items = generator(build(args.theirs))
        found = answer()

        def work():
            nonlocal found
            found = answer()

        def outcome():
            sequences, scores = found
            name = f"transformers {transformers.__version__} generate, PyTorch {torch.__version__} f32"
            return {"items": [items(sequences)], "scores": [scores.tolist()], "name": name}

        turns.serve(args.rounds, work, outcome)


def compare(args, side, beams):
    with tempfile.TemporaryDirectory() as folder:
        us, them, row = turns.compare(args, [side, folder, str(beams)], __file__, ["--theirs", folder])
    row = {"side": side, "peer": them["name"], "requests": 1, "beams": beams, **row, **turns.agreement(us, them)}
    return turns.told(row, f"{side:16} beam {beams:<4} {row['peer']}", turns.agreed(row))


def main():
    parser = turns.arguments(rounds=15, python="a Python with torch, transformers and numpy")
    parser.add_argument("--sides", default="decode-one", help="of ours: decode-one-int8 serves in eight bits")
    parser.add_argument("--beams", default="8,32,128")
    args = parser.parse_args()
    if args.theirs:
        return theirs(args)
    rows = [compare(args, side, int(beams)) for side in args.sides.split(",") for beams in args.beams.split(",")]
    turns.write(args, rows, what="constrained beam search")


if __name__ == "__main__":
    main()
