import torch

from unfreeze.model.pool import pool


def test_the_pool_is_maximum_first_then_average():
    maps = torch.arange(16.0).view(1, 2, 2, 4)
    assert pool(maps).tolist() == [[7, 15, 3.5, 11.5]]


def test_the_pool_of_tokens_is_the_class_token_then_the_average_of_the_others():
    tokens = torch.tensor([[[1.0, 2.0], [3.0, 5.0], [5.0, 9.0]]])
    assert pool(tokens).tolist() == [[1, 2, 4, 7]]
