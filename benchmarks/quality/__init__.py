"""`make quality`: how good retrieval is on real data, beside baselines on the same data in the same run.

`cases` says what is judged and when, `running` runs the real stages, `problem` is what baselines see of it,
`baselines/` are the baselines, `ours` the lists of our artefacts, `figures` the measures, `report` and `picture`
what is written. Every ranking is over the whole catalogue, never over sampled items.
"""
