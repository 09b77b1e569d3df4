"""The demo model: handwritten digits, on scikit-learn's bundled data."""
