"""Eq. (2) and (3) for one image: tokens (N, dim), weights as a dict of NumPy arrays named as in the network."""

import math

import numpy as np


def layer_norm(tokens, weight, bias):
    result = np.empty_like(tokens)
    for n, token in enumerate(tokens):
        result[n] = (token - token.mean()) / math.sqrt(token.var() + 1e-5) * weight + bias
    return result


def attention(tokens, weights, heads):
    count, dim = tokens.shape
    size = dim // heads
    projected = tokens @ weights["to_query_key_value.0.weight"].T + weights["to_query_key_value.0.bias"]
    joined = np.empty_like(tokens)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        query, key, value = projected[:, :dim][:, part], projected[:, dim : 2 * dim][:, part], projected[:, 2 * dim :]
        for n in range(count):
            scores = np.array([query[n] @ key[m] / math.sqrt(size) for m in range(count)])
            share = np.exp(scores - scores.max())
            joined[n, part] = (share / share.sum()) @ value[:, part]
    return joined @ weights["to_output.1.weight"].T + weights["to_output.1.bias"]


def mlp(tokens, weights):
    hidden = tokens @ weights["mlp.linear1.weight"].T + weights["mlp.linear1.bias"]
    gelu = np.array([[0.5 * h * (1 + math.erf(h / math.sqrt(2))) for h in row] for row in hidden])
    return gelu @ weights["mlp.linear2.weight"].T + weights["mlp.linear2.bias"]


def transformer_unit(tokens, weights, heads):
    normed = layer_norm(tokens, weights["attention_norm.weight"], weights["attention_norm.bias"])
    tokens = tokens + attention(normed, weights, heads)
    return tokens + mlp(layer_norm(tokens, weights["mlp_norm.weight"], weights["mlp_norm.bias"]), weights)
