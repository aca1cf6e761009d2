"""Sizes of rank 0's shard of a model, what it needs in memory, and how many distinct layers and KV pages fit."""

from dataclasses import dataclass

from attention import PAGE
from device import OutOfMemory, Unsupported
from linear import matrix_bytes
from moe import moe_bytes

RING_L2 = 4
"""The distinct layers of a ring together are at least so many times the L2 cache: none may live there from one use to the next."""
RING_WEIGHT_SHARE = 0.5
"""Share of the memory that the weights of a ring may take; the rest is for KV pages."""
MARGIN_BYTES = 512 << 20
"""For library workspaces and graphs on a GPU."""
CACHE_BYTES = {'bf16': 2, 'fp8': 1}


def split(count, parts, what):
    """count / parts; Unsupported if it does not divide."""
    if count % parts:
        raise Unsupported('unsupported_kind', f'{what} {count} does not divide by tp {parts}')
    return count // parts


@dataclass
class Shard:
    """Lengths in elements of one rank: heads / tp, ceil(kv_heads / tp), ffn / tp, vocab / tp; bytes per layer of its weight type."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    dim: int
    ffn: int
    vocab: int
    qk_norm: bool
    rope_theta: float
    tied: bool
    experts: int
    top_k: int
    expert_ffn: int
    shared_ffn: int
    dense_first: int
    weights: str
    kv: str

    @staticmethod
    def of(geometry, tp, weights, kv):
        """Shard of a model geometry (the fields of load_model). Raises Unsupported."""
        moe = geometry.get('moe') or {'experts': 0, 'top_k': 0, 'ffn': 0, 'shared_ffn': 0, 'dense_first': geometry['layers']}
        heads, kv_heads = split(geometry['heads'], tp, 'heads'), -(-geometry['kv_heads'] // tp)
        split(heads, kv_heads, 'query heads of a rank over its key heads:')
        if geometry['head_dim'] % 2 or geometry['head_dim'] > 256:
            raise Unsupported('unsupported_kind', f"head_dim {geometry['head_dim']} is odd or above 256")
        return Shard(
            geometry['layers'], geometry['hidden'], heads, kv_heads, geometry['head_dim'], split(geometry['ffn'], tp, 'ffn'), split(geometry['vocab'], tp, 'vocab'),
            geometry['qk_norm'], geometry['rope_theta'], geometry['tied'], moe['experts'], moe['top_k'], split(moe['ffn'], tp, 'expert ffn'),
            split(moe['shared_ffn'], tp, 'shared ffn'), min(moe['dense_first'], geometry['layers']), weights, kv)

    @property
    def qkv(self):
        """Width of queries, keys and values together."""
        return (self.heads + 2 * self.kv_heads) * self.dim

    def layer_bytes(self, index):
        """Weights of layer `index`."""
        attention = matrix_bytes(self.qkv, self.hidden, self.weights) + matrix_bytes(self.hidden, self.heads * self.dim, self.weights)
        norms = 2 * (2 * self.hidden + (2 * self.dim if self.qk_norm else 0))
        if index < self.dense_first:
            return attention + norms + matrix_bytes(2 * self.ffn, self.hidden, self.weights) + matrix_bytes(self.hidden, self.ffn, self.weights)
        return attention + norms + moe_bytes(self.hidden, self.expert_ffn, self.experts, self.shared_ffn, self.weights)

    def ends_bytes(self):
        """Embedding, final norm and vocabulary matrix."""
        return 2 * self.hidden + 2 * self.vocab * self.hidden * (1 if self.tied else 2)

    def page_bytes(self):
        """A KV page of one layer: 16 tokens, keys and values."""
        return 2 * PAGE * self.kv_heads * self.dim * CACHE_BYTES[self.kv]

    def workspace_bytes(self, limits):
        """Activations of the largest pass, an upper estimate, and the tables of positions."""
        tokens, batch, context = limits['max_tokens'] + limits['max_batch'], limits['max_batch'], limits['max_context'] + limits['max_tokens']
        wide = 3 * self.ffn if self.dense_first else 0
        routed = self.top_k * (2 * self.hidden + 3 * self.expert_ffn) + 3 * self.shared_ffn
        row = 2 * (6 * self.hidden + 2 * self.qkv + 2 * self.heads * self.dim + max(wide, routed, self.ffn)) + 8 * (self.experts + 4 * self.top_k)
        gathered = 4 * self.kv_heads * self.dim * (context + tokens)
        sampled = batch * (8 * self.vocab + 8 * self.hidden)
        return int(1.25 * (tokens * row + gathered + sampled)) + 8 * self.dim * context


@dataclass
class Fit:
    """What fits: distinct layers (all of them, or the dense ones and a ring of the others), and KV pages per layer."""

    distinct: int
    pages: int


def ring_start(shard):
    """Layers before the ring: the dense ones of a model that also has routed ones."""
    return shard.dense_first if shard.dense_first < shard.layers else 0


def fit(shard, limits, memory_bytes, l2_bytes):
    """Fit of a shard into `memory_bytes`. All layers if they fit beside the KV of one longest context or largest pass, else a ring of R >= 2.

    Raises OutOfMemory with what the smallest allowed form needs."""
    room = memory_bytes - shard.ends_bytes() - shard.workspace_bytes(limits)
    enough = -(-limits['max_context'] // PAGE) + -(-limits['max_tokens'] // PAGE) + limits['max_batch']
    most = limits['max_batch'] * -(-limits['max_context'] // PAGE) + -(-limits['max_tokens'] // PAGE)
    page, first = shard.page_bytes(), ring_start(shard)
    lead = sum(shard.layer_bytes(i) for i in range(first))
    layer = shard.layer_bytes(shard.layers - 1)

    def pages(distinct):
        return min(most, (room - lead - (distinct - first) * layer) // (distinct * page))

    if pages(shard.layers) >= min(most, enough):
        return Fit(shard.layers, pages(shard.layers))
    least = max(2, -(-RING_L2 * l2_bytes // layer))
    for ring in range(shard.layers - first - 1, least - 1, -1):
        if lead + ring * layer <= RING_WEIGHT_SHARE * room and pages(first + ring) >= min(most, enough):
            return Fit(first + ring, pages(first + ring))
    needed = memory_bytes - room + lead + least * layer + (first + least) * min(most, enough) * page
    if least < shard.layers - first and pages(first + least) >= min(most, enough):
        return Fit(first + least, pages(first + least))
    raise OutOfMemory(f'not even {least} distinct layers and the KV of one context fit', int(needed))
