"""What an item has to do with what its user had: what followed what, and how alike the texts are."""
