"""Words into numbers, as scikit-learn does it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from sklearn.utils import murmurhash3_32

from engram.preprocessing import encode
from engram.preprocessing._hash import murmur3

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "é", "語", ""]), min_size=1, max_size=40)


def _column(words):
    return np.array(words, dtype=object)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**32 - 1))
def test_the_hash_is_that_of_scikit_learn(text, seed):
    assert murmur3(text, seed) == murmurhash3_32(text.encode(), seed=seed, positive=True)


@given(WORDS, WORDS)
def test_one_hot_is_that_of_scikit_learn(seen, served):
    theirs = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(_column(seen)[:, None])
    fitted = encode.fit(_column(seen), encode.Options())
    assert list(fitted.categories) == theirs.categories_[0].tolist()
    np.testing.assert_array_equal(encode.transform(_column(served), fitted), theirs.transform(_column(served)[:, None]))


@given(st.permutations(["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d"] * 2 + ["e"]), WORDS)
def test_rare_and_unknown_words_share_a_column_as_in_scikit_learn(seen, served):
    theirs = OneHotEncoder(max_categories=4, handle_unknown="infrequent_if_exist", sparse_output=False)
    theirs.fit(_column(seen)[:, None])
    fitted = encode.fit(_column(seen), encode.Options(maximum=3))
    assert (fitted.categories, fitted.other) == (("a", "b", "c"), True)
    np.testing.assert_array_equal(encode.transform(_column(served), fitted), theirs.transform(_column(served)[:, None]))


@given(WORDS, WORDS)
def test_ordinal_is_that_of_scikit_learn(seen, served):
    theirs = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(_column(seen)[:, None])
    fitted = encode.fit(_column(seen), encode.Options("ordinal"))
    np.testing.assert_array_equal(encode.transform(_column(served), fitted), theirs.transform(_column(served)[:, None]))


def test_an_order_that_is_given_is_kept():
    fitted = encode.fit(_column(["high", "low"]), encode.Options("ordinal", order=("low", "mid", "high")))
    assert encode.transform(_column(["low", "mid", "high", "huge"]), fitted).ravel().tolist() == [0, 1, 2, -1]


def test_a_gap_keeps_its_column_however_rare_it_is():
    fitted = encode.fit(_column(["a"] * 9 + ["b"] * 9 + [""]), encode.Options(maximum=2))
    assert fitted.categories == ("", "a")
    assert fitted.other
    assert encode.names(fitted, ["x"]) == ["x=", "x=a", "x (other)"]


def test_a_word_falls_into_the_bucket_of_its_hash():
    made = encode.transform(_column(["a", "b"]), encode.fit(_column(["a"]), encode.Options("hashed", buckets=16)))
    assert made.argmax(1).tolist() == [murmurhash3_32(w, positive=True) % 16 for w in ("a", "b")]
    assert made.sum() == 2
