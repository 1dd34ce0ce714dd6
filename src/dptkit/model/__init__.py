"""Stages 2 to 5, pure tensor to tensor: encoder -> reassemble -> fusion -> head. Start reading at `dpt.py`."""
