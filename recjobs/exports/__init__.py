"""What others may take from the artefacts: nothing here is read by a stage."""
