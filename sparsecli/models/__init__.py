"""Networks: tensors to tensors, with weights that are learned."""
