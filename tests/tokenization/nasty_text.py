"""Random texts that are hard for a tokenizer, the same for a seed: every plane, marks, controls, long words."""

import random
import unicodedata

RANGES = {
    "ascii": [(0x20, 0x7E)],
    "latin": [(0xA0, 0x24F), (0x1E00, 0x1EFF)],
    "greek": [(0x370, 0x3FF), (0x1F00, 0x1FFF)],
    "cyrillic, hebrew, arabic": [(0x400, 0x52F), (0x590, 0x6FF), (0x8A0, 0x8FF)],
    "indic, thai, tibetan": [(0x900, 0xDFF), (0xE00, 0xFFF), (0x1100, 0x13FF), (0x1700, 0x1BFF)],
    "marks": [(0x300, 0x36F), (0x483, 0x489), (0x5B0, 0x5C7), (0x3099, 0x309A), (0x302A, 0x302F), (0x1AB0, 0x1AFF)],
    "moved marks": [(0x302E, 0x302F), (0x16FF0, 0x16FF1), (0x1D15E, 0x1D172), (0x316, 0x327), (0x1DC0, 0x1DFF)],
    "young marks": [(0x898, 0x89F), (0x1AC1, 0x1ACE), (0x10F82, 0x10F85), (0x1E4EC, 0x1E4EF), (0x1CF00, 0x1CF2D)],
    "controls": [(0x00, 0x1F), (0x7F, 0x9F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFFF0, 0xFFFD)],
    "spaces": [(0x20, 0x20), (0x09, 0x0D), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)],
    "more spaces": [(0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0x180E, 0x180E)],
    "punctuation": [(0x21, 0x2F), (0x3A, 0x40), (0x2010, 0x205E), (0x2E00, 0x2E5D), (0x3001, 0x3011), (0xFF01, 0xFF0F)],
    "ideographs": [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xF900, 0xFAFF)],
    "far ideographs": [
        (0x20000, 0x2A6DF),
        (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F),
        (0x2B820, 0x2CEAF),
        (0x2F800, 0x2FA1F),
    ],
    "between them": [(0x2B810, 0x2B930), (0x2A6D0, 0x2A710), (0x4DB8, 0x4E08), (0x9FF8, 0xA008), (0x2CEA0, 0x2CEC0)],
    "kana": [(0x3041, 0x30FF), (0xFF65, 0xFF9F)],
    "hangul": [(0xAC00, 0xD7A3), (0x1100, 0x11FF), (0x3131, 0x318E)],
    "emoji": [(0x1F300, 0x1FAFF), (0x2600, 0x27BF), (0x1F1E6, 0x1F1FF), (0xFE0E, 0xFE0F), (0x200D, 0x200D)],
    "private": [(0xE000, 0xF8FF), (0xF0000, 0xF00FF), (0x100000, 0x1000FF)],
    "anything": [(0x0, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x3FFFF), (0x40000, 0x10FFFF)],
}
PHRASES = [
    *(
        "The café",
        "UNWANTED,running",
        "東京タワーで",
        "バスでガラスの橋を渡った",
        "서울은 대한민국의",
        "ΟΔΥΣΣΕΥΣ ΣΑΣ'Α",
        "İstanbul ẞ",
    ),
    *(
        "👩\u200d👩\u200d👧\u200d👦 👍🏽",
        "un\u0000want\ufffded",
        "e\u0301\u0323x",
        "\u302e\u302f\U00016ff0",
        "क्षत्रिय",
        "ﬁ ㈱ ½ Å",
        "\u1e9b\u0323",
    ),
    *("don't", "3.14", "$5.00", "a_b-c", "\ue000x", "\U0002b820\U0002b91f", "e\u0327\u0000\u0316\u200d\u0301"),
]


def nasty_texts(count: int, seed: int) -> list[str]:
    """``count`` texts without half surrogate pairs; one in twenty has a word of 99 to 201 characters."""
    draw = random.Random(seed)
    return [_text(draw) for _ in range(count)]


def _text(draw: random.Random) -> str:
    parts = [_part(draw) for _ in range(draw.randint(0, 8))]
    if draw.random() < 0.05:
        length = draw.choice([99, 100, 101, 199, 200, 201])
        letters = draw.choice(["a", "ab", "é", "가", "ス", "e\u0301", "İ", "ΑΣ"])
        parts.insert(draw.randint(0, len(parts)), (letters * length)[:length])
    return draw.choice(["", " "]).join(parts)


def _part(draw: random.Random) -> str:
    if draw.random() < 0.15:
        return draw.choice(PHRASES)
    ranges = RANGES[draw.choice(list(RANGES))]
    text = "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(1, 6)))
    return unicodedata.normalize(draw.choice(["NFC", "NFD"]), text) if draw.random() < 0.3 else text
