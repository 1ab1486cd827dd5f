"""The steps from every earlier shape of the catalog to the one in ``tables``."""
