"""The files of ``torch.export``: a zip with a graph of torch's operators as JSON, and the numbers beside it."""
