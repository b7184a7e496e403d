"""The names that people give to columns, and which of them belong together."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

from dokkai.data.columns import WORDS
from dokkai.tasks.guessing_values import Columns

TEXTS = ("text", "sentence", "review", "content", "body", "comment", "message", "tweet", "utterance", "document")
_PAIRS = [  # and names that differ in 1 and 2, or in a and b, alone
    ("text", "pair"),  # as the settings are called
    ("premise", "hypothesis"),  # MNLI, SNLI
    ("question", "sentence"),  # QNLI
    ("question", "passage"),  # BoolQ
    ("paragraph", "question"),  # MultiRC
    ("query", "passage"),
    ("query", "document"),
    ("query", "title"),  # of a product: ESCI, Crowdflower
    ("search term", "title"),  # Home Depot
    ("query", "text"),
    ("question", "text"),
    ("query", "answer"),
    ("reference answer", "student answer"),
    ("question", "context"),
    ("question", "answer"),  # WikiQA
    ("claim", "evidence"),  # FEVER
    ("context", "response"),
    ("prompt", "response"),
    ("headline", "body"),  # FNC-1
    ("parent comment", "comment"),
    ("original", "translation"),  # MLQE
    ("sentence", "aspect term"),  # SemEval-2014
    ("sentence", "aspect"),
    ("text", "aspect"),
]
_SURE_PAIRS = _PAIRS[:7]  # the second of the others may be a label of the first
WORD_COLUMNS = (*WORDS, "word", "token")
TAG_COLUMNS = ("tag", "tags", "ner", "ner tag", "ner tags", "pos", "pos tag", "upos")
SENTENCE_COLUMNS = ("sentence", "sentence id", "sentence idx", "sentence no", "sentence number", "sent", "sent id")
LABELS = ("label", "labels", "class", "category", "target", "sentiment", "score", "rating", "quality", "stars", "gold")
SURE_LABELS = LABELS[:5]  # beside other columns of 0 and 1
MORE_LABELS = ("topic", "intent", "emotion", "genre", "polarity", "similarity", "relevance", "stance", "tags")
CHOICES = ("choices", "choice", "endings", "options", "candidates")
CHOICE = r"(choice|ending|option|answer|alternative)[0-9a-h]|[a-h]"
RIGHT = ("label", "answer", "answerkey", "correct", "gold", "target")
CONTEXTS = ("context", "passage", "article", "story", "paragraph", "sent1", "premise", "text", "ctx")
QUESTIONS = ("question", "query", "sent2", "stem")
IDS = ("id", "idx", "index", "guid", "uid", "uuid", "key")
_MEANINGS = {  # in Japanese, Chinese, German, French and Spanish
    "text": "文章 本文 テキスト 全文 文本 正文 texte texto",
    "sentence": "文 例文 句子 satz frase",
    "review": "レビュー 感想 口コミ 评论 評論 rezension avis reseña opinión",
    "content": "内容 inhalt contenu contenido",
    "comment": "コメント kommentar commentaire comentario",
    "message": "メッセージ nachricht mensaje",
    "tweet": "ツイート",
    "utterance": "発話",
    "question": "質問 質問文 設問 問題 問題文 問い 问题 frage pregunta",
    "context": "文脈 上下文 kontext contexte contexto",
    "paragraph": "段落 absatz paragraphe párrafo",
    "article": "記事 artikel artículo",
    "answer": "答え 回答 解答 正解 正答 正解番号 答案 正确答案 antwort lösung réponse respuesta",
    "choice": "選択肢 选项 選項 choix opción",
    "premise": "前提 prämisse prémisse premisa",
    "hypothesis": "仮説 假设 hypothese hypothèse hipótesis",
    "label": "ラベル 正誤 标签 標籤 étiquette etiqueta",
    "class": "クラス 类别 類別 klasse classe clase",
    "category": "カテゴリ カテゴリー 分類 分类 kategorie catégorie categoría",
    "sentiment": "情感 stimmung sentimiento",
    "score": "スコア 点数 得点 評点 分数 puntuación",
    "rating": "評価 评分 評分 bewertung calificación valoración",
    "stars": "星 星数 sterne étoiles estrellas",
    "polarity": "極性 polarität polarité polaridad",
    "emotion": "感情 情绪 emoción",
    "topic": "トピック 話題 主题",
    "intent": "意図 意图",
    "similarity": "類似度 相似度 ähnlichkeit similarité similitud",
    "id": "番号 编号 nummer numéro número",
    "tokens": "トークン",
    "word": "単語 词 wort mot palabra",
    "tags": "タグ",
    "pos": "品詞 词性 wortart",
    "sentence id": "文番号 satznummer",
}
_SIDES = [
    *{name for pair in _SURE_PAIRS[1:] for name in pair},
    *(f"{name}{n}" for name in TEXTS for n in "12ab"),
]
_RARE = {"relevance", "stance"}  # a cell of a table without a header line may say that
_USUAL = {*TEXTS, *LABELS, *MORE_LABELS, *CHOICES, *QUESTIONS, *CONTEXTS, *IDS, *_SIDES} - _RARE


def is_usual_name(name: str) -> bool:
    """Whether it is a name that people give to columns."""
    return plain(name) in _USUAL


def find_pair(texts: Sequence[str]) -> tuple[str, str] | None:
    """Two columns whose names belong together: whole ones, those that differ in a digit or a letter, last words."""
    return _known_pair(texts, _PAIRS, plain) or _twins(texts) or _known_pair(texts, _PAIRS[1:], _last_word)


def is_sure_pair(first: str, second: str) -> bool:
    """Whether the second is a text by its name alone."""
    return _known_pair((first, second), _SURE_PAIRS, plain) is not None or _twins((first, second)) is not None


def _known_pair(
    texts: Sequence[str], pairs: Sequence[tuple[str, str]], end: Callable[[str], str]
) -> tuple[str, str] | None:
    """Of names that are those of a pair, or of which the ``end`` is."""
    for pair in pairs:
        found: list[str] = []
        for wanted in map(plain, pair):
            found += [name for of in (plain, end) for name in texts if of(name) == wanted and name not in found][:1]
        if len(found) == 2:
            return found[0], found[1]
    return None


def _twins(texts: Sequence[str]) -> tuple[str, str] | None:
    """Those with the shortest names: beside sentence1 and sentence2 there may be sentence1_parse and its like."""
    found = []
    for first, second in combinations([name for name in texts if not plain(name).strip("12ab").endswith("id")], 2):
        one, other = _letters(first), _letters(second)
        differing = [(x, y) for x, y in zip(one, other, strict=False) if x != y]
        if len(one) == len(other) and differing in ([("1", "2")], [("a", "b")]):
            found.append((first, second))
    return min(found, key=lambda names: len(names[0]), default=None)


def _last_word(name: str) -> str:
    """ "product_title", and "title_text", to "title"."""
    words = re.findall("[a-z0-9]+", name.lower())
    return next((word for word in reversed(words) if word not in ("text", "string")), "")


def plain(name: str) -> str:
    """The ASCII letters and digits of a name; of one in another language those of the English: choice1 of 選択肢１."""
    letters = _unaccented(name)
    for end in (len(letters), len(letters) - 1):
        if letters[:end] in _ENGLISH and re.fullmatch("[0-9a-h]?", letters[end:]):
            return _ENGLISH[letters[:end]] + letters[end:]
    return re.sub("[^a-z0-9]", "", _letters(name))


def _unaccented(name: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", name).lower()))


_ENGLISH = {
    _unaccented(word): english.replace(" ", "") for english, words in _MEANINGS.items() for word in words.split()
}


def _letters(name: str) -> str:
    """Letters and digits of all scripts, those of full width as the usual ones."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", name).lower())


def find_named(columns: Columns, names: Iterable[str], without: Iterable[str] = (), whole: bool = False) -> str | None:
    """The first column with one of these names, else (not ``whole``) with one of them as a word of its name."""
    there = [name for name in columns if name not in set(without)]
    words = {name: {plain(name)} for name in there}
    more = {name: set(map(plain, re.split(r"[\W_]+", name))) for name in there}
    for of in [words] if whole else [words, more]:
        for wanted in names:
            for name in there:
                if plain(wanted) in of[name]:
                    return name
    return None


def list_names(names: Sequence[str]) -> str:
    """Five of them at most, in quotes."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (" ..." if len(names) > 5 else "")
