"""How well a model does: metrics, intervals, slices, diagnosis, and the report that shows them."""
