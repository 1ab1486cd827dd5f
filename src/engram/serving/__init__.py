"""Answering requests: one data plane that knows models, thin doors that know protocols."""
