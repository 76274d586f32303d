"""What a browser gets while the app cannot answer: its state, its last words, and a reload once it is back."""
