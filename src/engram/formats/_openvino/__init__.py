"""OpenVINO's IR: how it is made and asked, both in a worker, and what must stand in it."""
