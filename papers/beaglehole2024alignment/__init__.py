"""Beaglehole, Mitliagkas & Agarwala, Feature learning as alignment, arXiv:2402.05271."""
