"""Where candidates come from beside the towers: what is bought or seen together, what is used up, what is
popular in a segment, what is new. Each proposes items with a score of its own; `mixing` makes one list."""
