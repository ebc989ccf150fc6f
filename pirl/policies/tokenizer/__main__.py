"""Rebuild the shipped tokenizer files."""

from pirl.policies.tokenizer import TOKENIZER_DIR, build_tokenizer, libero_sentences

if __name__ == "__main__":
    build_tokenizer(libero_sentences()).save_pretrained(TOKENIZER_DIR)
