"""A generated marketplace with known tastes.

`generation.generate` writes days of it as input, `preference.true_preference` is the truth behind them.
Every item and user is a number; what is true of it follows from that number and the seed, so any
day can be computed alone: there is no state to carry from day to day, and no first day.
Only `config` is light to import.
"""
