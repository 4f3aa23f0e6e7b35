"""The probe inside other people's training loops: Lightning and Hugging Face."""
