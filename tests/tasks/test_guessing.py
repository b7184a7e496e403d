"""Guessing the task from a file: what is made of every layout, and what is said where nothing fits."""

import json
import re

import pytest

from dokkai.errors import UserError
from dokkai.settings import load_settings, parse_settings
from dokkai.tasks.guessing import guess_recipe, guess_task
from dokkai.tasks.guessing_columns import Guess, guess_from_columns
from dokkai.tasks.guessing_names import _ENGLISH, _USUAL
from dokkai.tasks.guessing_values import lie_in


def qas(*answers):
    return [
        {"id": str(n), "question": "?", "answers": [{"text": text, "answer_start": 0}] if text else []}
        for n, text in enumerate(answers)
    ]


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        lines = "".join(json.dumps(record) + "\n" for record in content) if isinstance(content, list) else content
        path.write_text(json.dumps(content) if isinstance(content, dict) else lines, encoding="utf-8")
        return path

    return write


def table(names, *rows, times=6):
    return "\n".join([names, *rows * times]) + "\n"


TEXT = "a rather long text that goes on"
GUESSES = {
    "text and label": (
        "a.csv",
        table("text,label", "good,yes", "bad,no"),
        {"kind": "classification", "text": "text", "label": "label"},
        "column 'label' holds 2 different values",
    ),
    "other names, in words": (
        "a.tsv",
        table("Id\tReview_Body\tAuthor\tStar Rating", f"1\t{TEXT}\tAnn\t5", f"2\t{TEXT}\tAnn\t1"),
        {"kind": "classification", "text": "Review_Body", "label": "Star Rating"},
        "column 'Star Rating' holds 2",
    ),
    "no known name": (
        "a.csv",
        table("x,words said,y", f"7,{TEXT},sad", f"8,{TEXT} and on,glad", f"9,{TEXT} and off,glad"),
        {"kind": "classification", "text": "words said", "label": "y"},
        "column 'y' holds 2",
    ),
    "a header that is one of its values": (
        "a.csv",
        table("text,spam", f"{TEXT},spam", "another,ham"),
        {"kind": "classification", "text": "text", "label": "spam"},
        "column 'spam' holds 2",
    ),
    "a header with a number": (
        "a.csv",
        table("text,label,2023", f"{TEXT},yes,7", "another,no,8"),
        {"kind": "classification", "text": "text", "label": "label"},
        "column 'label' holds 2",
    ),
    "flags whose names are numbers": (
        "a.csv",
        table("text,1,2", f"{TEXT},TRUE,FALSE", "another,FALSE,TRUE"),
        {"kind": "multi-label", "text": "text", "label_columns": ["1", "2"]},
        "columns '1', '2' hold 0 or 1",
    ),
    "flags of pandas": (
        "a.csv",
        table("text,red,blue", f"{TEXT},1.0,0.0", "another,0.0,1.0"),
        {"kind": "multi-label", "text": "text", "label_columns": ["red", "blue"]},
        "columns 'red', 'blue' hold 0 or 1",
    ),
    "choices counted from 1": (
        "a.csv",
        table("question,choice1,choice2,choice3,answer", "Who?,x,y,z,1", "When?,u,v,w,3"),
        {
            "kind": "multiple-choice",
            "question": "question",
            "choices": ["choice1", "choice2", "choice3"],
            "label": "answer",
            "label_is": "number-from-1",
        },
        "column 'answer' the number-from-1 of the right one",
    ),
    "choices with small letters": (
        "a.csv",
        table("question,a,b,c,answer", "Who?,x,y,z,a", "When?,u,v,w,c"),
        {
            "kind": "multiple-choice",
            "question": "question",
            "choices": ["a", "b", "c"],
            "label": "answer",
            "label_is": "letter",
        },
        "",
    ),
    "no header line": (
        "cola.tsv",
        "gj04\t1\t\tOur friends will not buy it.\ngj05\t0\t*\tOur friends buy will not.\ngj06\t1\t\tThey will.\n" * 2,
        {"kind": "classification", "text": "3", "label": "1", "header": False},
        "the first line is taken as an example and column '1' holds 2",
    ),
    "a pair by its numbers": (
        "mrpc.tsv",
        table("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t7\t8\tA cat.\tA dog.", "0\t9\t7\tOne.\tTwo."),
        {"kind": "classification", "text": "#1 String", "pair": "#2 String", "label": "Quality"},
        "",
    ),
    "a pair by its letters": (
        "a.jsonl",
        [{"text_a": "a", "text_b": "b", "label": True}, {"text_a": "c", "text_b": "d", "label": False}],
        {"kind": "classification", "text": "text_a", "pair": "text_b", "label": "label"},
        "",
    ),
    "a pair by numbers of full width": (
        "a.csv",
        table("文１,文２,類似度", "犬が走る,猫が寝る,yes", "鳥が飛ぶ,魚が泳ぐ,no"),
        {"kind": "classification", "text": "文１", "pair": "文２", "label": "類似度"},
        "",
    ),
    "no pair, as only their numbers are alike": (
        "a.csv",
        table("感想1,店名2,評価", "とても良い店だった,梅,yes", "もう行かないと思う,桜,no", "また行く,松,yes"),
        {"kind": "classification", "text": "感想1", "label": "評価"},
        "",
    ),
    "a pair by its names": (
        "a.jsonl",
        [{"premise": "a", "hypothesis": "b", "label": 0, "text": "c"}, {"premise": "c", "hypothesis": "d", "label": 2}],
        {"kind": "classification", "text": "premise", "pair": "hypothesis", "label": "label"},
        "",
    ),
    "a pair by the names of the settings": (
        "a.csv",
        table("text,pair,label", "one text,its pair,yes", "another,a pair,no"),
        {"kind": "classification", "text": "text", "pair": "pair", "label": "label"},
        "",
    ),
    "a question with an answer": (
        "a.csv",
        table("question,answer,label", "who is it,it is I,yes", "what is it,no idea,no"),
        {"kind": "classification", "text": "question", "pair": "answer", "label": "label"},
        "",
    ),
    "a question whose answer is the label": (
        "a.csv",
        table("question,answer", "is it,yes", "is it so,no", "was it,no"),
        {"kind": "classification", "text": "question", "label": "answer"},
        "column 'answer' holds 2",
    ),
    "a pair by the last words of its names": (
        "a.csv",
        table("query_id,query,product_title,relevance", "q1,a saw,Blue saw,2.33", "q2,a nut,Ten nuts,1.0"),
        {"kind": "regression", "text": "query", "pair": "product_title", "label": "relevance"},
        "",
    ),
    "a pair by two words": (
        "a.csv",
        table("search_term,product_title,relevance", "a saw,Blue saw,2.33", "a nut,Ten nuts,1.0"),
        {"kind": "regression", "text": "search_term", "pair": "product_title", "label": "relevance"},
        "",
    ),
    "a pair among its parses and its ids": (
        "a.csv",
        table("id1,id2,sentence1_parse,sentence2_parse,sentence1,sentence2,gold_label", "a,b,(a),(b),A,B,no"),
        {"kind": "classification", "text": "sentence1", "pair": "sentence2", "label": "gold_label"},
        "",
    ),
    "a pair whose second name ends in that of the first": (
        "a.csv",
        table("parent_comment,user_comment,label", "a saw,Blue saw,yes", "a nut,Ten nuts,no"),
        {"kind": "classification", "text": "parent_comment", "pair": "user_comment", "label": "label"},
        "",
    ),
    "a text that is mostly empty, beside its label": (
        "a.csv",
        "comment,label\ngood,yes\n,no\n,no\nfine,yes\n,no\n,yes\nbad,no\n,yes\n",
        {"kind": "classification", "text": "comment", "label": "label"},
        "",
    ),
    "a text that is mostly empty, beside two classes": (
        "a.csv",
        table("comment,source,label", "good,web,yes", ",web,no", ",app,yes"),
        {"kind": "classification", "text": "comment", "label": "label"},
        "",
    ),
    "no header line, but a word that many tables are headed with": (
        "a.csv",
        "x y z of it,1,original\nx y of it,0,copy\nz y,1,copy\nz of it,0,copy\n",
        {"kind": "classification", "text": "0", "label": "1", "header": False},
        "",
    ),
    "no header line, but the name of a label": (
        "a.csv",
        "x y z of it,1,stance\nx y,0,copy\nz y,1,copy\nz,0,copy\n",
        {"kind": "classification", "text": "0", "label": "1", "header": False},
        "",
    ),
    "a text beside a column that is mostly empty": (
        "a.csv",
        table("text,body,label", "a note,one,yes", ",two,no", ",three,no"),
        {"kind": "classification", "text": "body", "label": "label"},
        "",
    ),
    "numbers with fractions": (
        "a.jsonl",
        [{"sentence1": "a", "sentence2": "b", "score": 2.5}, {"sentence1": "c", "sentence2": "d", "score": 3.0}],
        {"kind": "regression", "text": "sentence1", "pair": "sentence2", "label": "score"},
        "column 'score' holds 2 different numbers",
    ),
    "many whole numbers": (
        "a.csv",
        table("text,score", *[f"a{n},{n * n}" for n in range(30)]),
        {"kind": "regression", "text": "text", "label": "score"},
        "30 different numbers",
    ),
    "many numbers of classes": (
        "a.csv",
        table("text,label", *[f"a{n},{n}" for n in range(30)]),
        {"kind": "classification", "text": "text", "label": "label"},
        "30 different values",
    ),
    "lists of labels": (
        "a.jsonl",
        [{"text": "a", "labels": ["x", "y"]}, {"text": "b", "labels": []}],
        {"kind": "multi-label", "text": "text", "label": "labels"},
        "column 'labels' holds lists",
    ),
    "labels with separators": (
        "a.csv",
        table("text,tags", "a,x|y", "b,x", "c,y"),
        {"kind": "multi-label", "text": "text", "label": "tags", "label_separator": "|"},
        "column 'tags' holds labels with '|' between them",
    ),
    "labels with separators, or none": (
        "a.csv",
        table("text,tags", "a,x|y", "b,x", "c,y", "d,"),
        {"kind": "multi-label", "text": "text", "label": "tags", "label_separator": "|"},
        "column 'tags' holds labels with '|' between them",
    ),
    "a comma within a name is no separator": (
        "a.csv",
        table("text,label", 'a,"Paris, Texas"', 'b,"Rome, Ohio"'),
        {"kind": "classification", "text": "text", "label": "label"},
        "",
    ),
    "columns of 0 and 1": (
        "a.csv",
        table("id,comment_text,toxic,insult", "7,You!,1,1", "8,Hello,0,0", "9,Oh,1,0"),
        {"kind": "multi-label", "text": "comment_text", "label_columns": ["toxic", "insult"]},
        "columns 'toxic', 'insult' hold 0 or 1",
    ),
    "columns of 0 and 1, one with the name of a label": (
        "a.csv",
        table("text,price,quality", "a,1,1", "b,0,0", "c,1,0"),
        {"kind": "multi-label", "text": "text", "label_columns": ["price", "quality"]},
        "columns 'price', 'quality' hold 0 or 1",
    ),
    "a label beside another column of 0 and 1": (
        "a.csv",
        table("text,seen,label", "a,1,1", "b,0,0", "c,1,0"),
        {"kind": "classification", "text": "text", "label": "label"},
        "column 'label' holds 2 different values",
    ),
    "columns of choices": (
        "a.json",
        [{"question": "?", "choice0": "x", "choice1": "y", "choice2": "z", "label": n} for n in (0, 2)],
        {
            "kind": "multiple-choice",
            "question": "question",
            "choices": ["choice0", "choice1", "choice2"],
            "label": "label",
            "label_is": "number",
        },
        "columns 'choice0', 'choice1', 'choice2' hold choices and column 'label' the number of the right one",
    ),
    "letters": (
        "a.csv",
        table("passage,question,A,B,C,answer", "p,q,x,y,z,B", "p,q,x,y,z,C"),
        {
            "kind": "multiple-choice",
            "context": "passage",
            "question": "question",
            "choices": ["A", "B", "C"],
            "label": "answer",
            "label_is": "letter",
        },
        "",
    ),
    "a list of choices": (
        "a.jsonl",
        [{"question": "?", "choices": ["x", "y"], "answer": "y"}],
        {
            "kind": "multiple-choice",
            "question": "question",
            "choices": ["choices"],
            "label": "answer",
            "label_is": "text",
        },
        "column 'choices' holds lists and column 'answer' the text of the right one",
    ),
    "endings": (
        "a.jsonl",
        [{"sent1": "a", "sent2": "b", "ending0": "c", "ending1": "d", "label": 1}],
        {
            "kind": "multiple-choice",
            "context": "sent1",
            "question": "sent2",
            "choices": ["ending0", "ending1"],
            "label": "label",
            "label_is": "number",
        },
        "",
    ),
    "words and tags in lists": (
        "a.jsonl",
        [{"tokens": ["a", "b"], "pos_tags": [1, 2], "ner_tags": ["O", "B-X"]}],
        {"kind": "token-classification", "words": "tokens", "tags": "ner_tags"},
        "columns 'tokens' and 'ner_tags' hold a list each",
    ),
    "a word a line": (
        "a.bio",
        "EU B-ORG\nrejects O\n\nPeter B-PER\n",
        {"kind": "token-classification"},
        "each line holds a word and one of 3 tags",
    ),
    "a word a line, with tabs": (
        "a.tsv",
        "EU\tB-ORG\nrejects\tO\n\n",
        {"kind": "token-classification"},
        "one of 2 tags",
    ),
    "a word a row, with its sentence at the first": (
        "a.csv",
        "Sentence #,Word,POS,Tag\nSentence: 1,EU,NNP,B-org\n,talks,VB,O\nSentence: 2,Peter,NNP,B-per\n,is,VB,O\n",
        {"kind": "token-classification", "words": "Word", "tags": "Tag", "id": "Sentence #"},
        "each row holds a word and one of 3 tags, and column 'Sentence #' the sentence",
    ),
    "a word a row, with its sentence in each": (
        "a.csv",
        "n,sentence_id,word,ner\n0,7,EU,B-org\n1,7,talks,O\n2,8,Peter,B-per\n3,8,is,O\n",
        {"kind": "token-classification", "words": "word", "tags": "ner", "id": "sentence_id"},
        "",
    ),
    "a word a row, with tags that mark no names": (
        "a.csv",
        "Sentence #,Word,POS\n1,EU,NNP\n,talks,VB\n2,Peter,NNP\n",
        {"kind": "token-classification", "words": "Word", "tags": "POS", "id": "Sentence #"},
        "",
    ),
    "labels in cells that write lists": (
        "a.csv",
        table("text,labels", f"{TEXT},\"['x', 'y']\"", "another,[]", "a third,\"['x']\""),
        {"kind": "multi-label", "text": "text", "label": "labels"},
        "column 'labels' holds lists",
    ),
    "choices with names": (
        "a.json",
        [
            {"question": "?", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"},
            {"question": "!", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"},
        ],
        {
            "kind": "multiple-choice",
            "question": "question",
            "choices": ["choices"],
            "label": "answerKey",
            "label_is": "name",
        },
        "column 'choices' holds lists and column 'answerKey' the name of the right one",
    ),
    "choices in cells that write lists": (
        "a.csv",
        table("question,choices,answer", 'Who?,"[""x"", ""y""]",A', "When?,\"['u', 'v']\",B"),
        {
            "kind": "multiple-choice",
            "question": "question",
            "choices": ["choices"],
            "label": "answer",
            "label_is": "letter",
        },
        "column 'choices' holds lists",
    ),
    "words and tags in cells that write lists": (
        "a.csv",
        table("tokens,ner_tags", "\"['EU', 'talks']\",\"['B-ORG', 'O']\"", "\"['Ann']\",\"['B-PER']\""),
        {"kind": "token-classification", "words": "tokens", "tags": "ner_tags"},
        "hold a list each",
    ),
    "columns as pandas writes them": (
        "a.json",
        {"text": {str(n): f"{TEXT} {n}" for n in range(6)}, "label": {str(n): "yn"[n % 2] for n in range(6)}},
        {"kind": "classification", "text": "text", "label": "label"},
        "column 'label' holds 2 different values",
    ),
    "words with classes": (
        "a.csv",
        table("word,label", "good,yes", "bad,no"),
        {"kind": "classification", "text": "word", "label": "label"},
        "",
    ),
    "articles": (
        "a.json",
        {"data": [{"paragraphs": [{"context": "a b", "qas": qas("a", "a b")}]}]},
        {"kind": "question-answering", "no_answer": False},
        "articles hold paragraphs with questions (SQuAD)",
    ),
    "articles with questions without an answer": (
        "a.json",
        {"data": [{"paragraphs": [{"context": "a b", "qas": qas("a", "")}]}]},
        {"kind": "question-answering", "no_answer": True},
        "",
    ),
    "articles without spaces": (
        "a.json",
        {"data": [{"paragraphs": [{"context": "東京は日本の首都である。\u3000人口は多い。", "qas": qas("東京")}]}]},
        {"kind": "question-answering", "no_answer": False, "scoring": "characters"},
        "articles hold paragraphs with questions (SQuAD), and the contexts hardly hold spaces between words",
    ),
    "questions as records": (
        "a.jsonl",
        [{"context": "a b", "question": "?", "answers": {"text": ["b"], "answer_start": [2]}}],
        {"kind": "question-answering", "no_answer": False},
        "each record has a question, a context and answers",
    ),
}


JA = "この店の料理はとても美味しかったです。"
IN_OTHER_LANGUAGES = [
    ("性別,本文,評価", (f"男,{JA},3", f"女,また行く。{JA},5", f"男,安い。{JA},1"), {"text": "本文", "label": "評価"}),
    ("店名,感想,感情", (f"梅,{JA},喜", f"松,別の{JA},怒", f"松,三つ目の{JA},哀"), {"text": "感想", "label": "感情"}),
    (
        "文1,文2,類似度",
        (f"{JA},犬が走る。,2.5", f"別の{JA},猫が寝る。,0.5"),
        {"text": "文1", "pair": "文2", "label": "類似度"},
    ),
    (
        "前提,仮説,ラベル",
        (f"{JA},犬だ。,含意", f"別の{JA},猫だ。,矛盾"),
        {"text": "前提", "pair": "仮説", "label": "ラベル"},
    ),
    ("質問,回答,正誤", (f"どこ?,{JA},1", f"いつ?,別の{JA},0"), {"text": "質問", "pair": "回答", "label": "正誤"}),
    (
        "質問,文章,答え",
        (f"何が?,{JA},料理", "何が走る?,犬が走る。,犬"),
        {"question": "質問", "context": "文章", "answer": "答え"},
    ),
    (
        "問題,選択肢１,選択肢２,選択肢３,正解",
        ("誰?,梅,松,桜,3", "何?,犬,猫,鳥,1"),
        {
            "question": "問題",
            "choices": ["選択肢１", "選択肢２", "選択肢３"],
            "label": "正解",
            "label_is": "number-from-1",
        },
    ),
    ("文番号,単語,品詞", ("1,犬,名詞", "1,走る,動詞", "2,猫,名詞"), {"words": "単語", "tags": "品詞", "id": "文番号"}),
    ("城市,内容,类别", (f"北京,{JA},正", f"上海,别的{JA},负", f"北京,另外{JA},中"), {"text": "内容", "label": "类别"}),
    (
        "问题,上下文,答案",
        (f"何?,{JA},料理", "谁?,犬が走る。,犬"),
        {"question": "问题", "context": "上下文", "answer": "答案"},
    ),
    (
        "Stadt;Kommentar;Bewertung",
        (f"Ulm;{TEXT};3", f"Jena;one {TEXT};5", f"Jena;two {TEXT};1"),
        {"text": "Kommentar", "label": "Bewertung"},
    ),
    (
        "Frage;Kontext;Antwort",
        ("Wer?;Ada came.;Ada", "Wann?;Not today.;today"),
        {"question": "Frage", "context": "Kontext", "answer": "Antwort"},
    ),
    (
        "Frage;Antwort A;Antwort B;Lösung",
        ("Wer?;x;y;B", "Wann?;u;v;A"),
        {"question": "Frage", "choices": ["Antwort A", "Antwort B"], "label": "Lösung", "label_is": "letter"},
    ),
    (
        "Sexe;Texte;Catégorie",
        (f"h;{TEXT};a", f"f;one {TEXT};b", f"h;two {TEXT};c"),
        {"text": "Texte", "label": "Catégorie"},
    ),
    (
        "Ville;Avis;CATEGORIE",
        (f"Lyon;{TEXT};a", f"Metz;one {TEXT};b", f"Metz;two {TEXT};c"),
        {"text": "Avis", "label": "CATEGORIE"},
    ),
    (
        "Ciudad;Reseña;Puntuación",
        (f"Lugo;{TEXT};1", f"Jaca;one {TEXT};2", f"Jaca;two {TEXT};3"),
        {"text": "Reseña", "label": "Puntuación"},
    ),
    ("question;text;answer", ("Who?;Ada came.;Ada", "When?;Not today.;today"), {"context": "text"}),
    (
        "question;text;label",
        (f"Who?;{TEXT};a", f"When?;one {TEXT};b"),
        {"text": "question", "pair": "text", "label": "label"},
    ),
]


@pytest.mark.parametrize(("names", "rows", "expected"), IN_OTHER_LANGUAGES)
def test_names_in_other_languages(names, rows, expected, write):
    found = guess_task(write("a.csv", table(names, *rows, times=1)), {})[0].task
    assert {name: found[name] for name in found if name not in ("kind", "no_answer", "scoring")} == expected


def test_names_in_other_languages_are_no_english_ones():
    assert not _USUAL & _ENGLISH.keys()


def test_the_beginning_of_an_ending_in_hellaswag(write):
    """Its ctx_a and ctx_b look like a pair."""
    lines = [{"ctx_a": TEXT, "ctx_b": "one", "ctx": f"{TEXT} one", "endings": ["a", "b"], "label": n} for n in (0, 1)]
    task = guess_task(write("a.jsonl", lines), {})[0].task
    assert (task["kind"], task["context"], task["choices"]) == ("multiple-choice", "ctx", ["endings"])


@pytest.mark.parametrize("name", GUESSES)
def test_guesses(name, write):
    file, content, expected, reason = GUESSES[name]
    found = guess_task(write(file, content), {})[0]
    assert found.task == expected
    assert reason in found.reason
    assert parse_settings({"task": found.task}, name).task.kind == expected["kind"]


@pytest.mark.parametrize(
    ("names", "given", "expected"),
    [
        ("text,label,stars", {"label": "stars"}, {"kind": "classification", "text": "text", "label": "stars"}),
        ("text,body,label", {"text": "body"}, {"kind": "classification", "text": "body", "label": "label"}),
        ("0,1,2", {"text": 0, "label": 2, "header": True}, {"kind": "classification", "text": "0", "label": "2"}),
        ("text,pair,label", {"text": "pair"}, {"kind": "classification", "text": "pair", "label": "label"}),
        ("text,x,score", {"kind": "regression"}, {"kind": "regression", "text": "text", "label": "score"}),
        (
            "text,x,label",
            {"kind": "multi-label"},
            {"kind": "multi-label", "text": "text", "label": "label", "label_separator": ","},
        ),
    ],
)
def test_what_is_given_stays(names, given, expected, write):
    path = write("a.csv", table(names, "one text,other text,1", "more text,another text,2"))
    assert guess_task(path, given)[0].task == expected


def test_a_recipe_is_made_and_said(write, capsys):
    path = write("a.csv", table("text,stars,label", "good,1,yes", "bad,5,no"))
    recipe = guess_recipe(path, ["task.label=stars", "train.epochs=1"])
    assert capsys.readouterr().err.rstrip() == (
        f"no recipe: a guess is made from {path}, where column 'stars' holds 2 different values: "
        "task.kind=classification task.text=text task.label=stars "
        "train.batch_size=32 train.learning_rate=5e-05"
    )
    guess_recipe(path, ["task.label=stars", "train.epochs=1"])
    assert capsys.readouterr().err == ""
    settings = load_settings(recipe, ["task.label=stars", "train.epochs=1"])
    assert (settings.task.kind, settings.task.text, settings.task.label) == ("classification", "text", "stars")
    assert (settings.train.epochs, settings.train.learning_rate, settings.train.dev_share) == (1, 5e-5, 0.1)
    assert recipe["train"]["epochs"] == 20  # of 12 examples


def test_scoring_that_is_given_stays(write):
    path = write("a.json", {"data": [{"paragraphs": [{"context": "東京は首都である。", "qas": qas("東京")}]}]})
    found = guess_task(path, {"scoring": "squad"})[0]
    assert "scoring" not in found.task and "spaces" not in found.reason


def test_rows_of_words_are_counted_by_sentences(write):
    rows = "".join(f"{n // 4},w{n},{'B-x' if n % 4 else 'O'}\n" for n in range(24))
    assert guess_task(write("a.csv", "sentence,word,tag\n" + rows), {})[1] == 6


@pytest.mark.parametrize(("answers", "named"), [("answer", {}), ("answers", {"answer": "answers"})])
def test_questions_in_columns(answers, named):
    """Where the answers lie in the contexts; other columns called so are labels, or texts."""
    columns = {"question": ["who", "what"], "context": ["Ann sees it", "Bob sees a cat"], answers: ["Ann", "a cat"]}
    found = guess_from_columns(columns, {})
    assert found.task == {"kind": "question-answering"} | named
    assert found.reason.startswith("each record has a question")


def test_questions_in_a_table(write):
    rows = ["who,Ann sees it,Ann,0", "what,Bob sees a cat,a cat,9", "who,Bob sees it,,"]
    path = write("a.csv", table("question,context,answer,answer_start", *rows, times=1))
    expected = {"kind": "question-answering", "no_answer": True}
    assert guess_task(path, {}) == (
        Guess(expected, "each record has a question, a context and an answer that lies in it"),
        3,
    )
    path = write("b.csv", table("Query,Passage,Answer Text,Start", *rows[:2], times=1))
    expected = {"question": "Query", "context": "Passage", "answer": "Answer Text", "no_answer": False}
    assert guess_task(path, {})[0].task == {"kind": "question-answering", **expected}
    found = guess_task(path, {"answer_start": "Start"})[0].task
    assert found == {"kind": "question-answering", "answer_start": "Start", **expected}
    path = write("c.csv", table("q,c,a", *(row.rpartition(",")[0] for row in rows[:2]), times=1))
    given = {"question": "q", "context": "c", "answer": "a"}
    assert guess_task(path, given)[0].task == {"kind": "question-answering", **given, "no_answer": False}
    with pytest.raises(UserError, match=r"c\.csv: no column 'x'; there is: q, c, a"):
        guess_task(path, given | {"answer": "x"})


@pytest.mark.parametrize(
    "columns",
    [
        {"question": ["is it", "was it"], "context": ["it is so", "it was not"], "answer": ["yes", "no"]},
        {"question": ["is it", "was it"] * 11, "context": ["no: yes"] * 22, "answer": ["yes", "no"] * 11},
    ],
)
def test_answers_that_are_classes(columns):
    task = {"kind": "classification", "text": "question", "pair": "context", "label": "answer"}
    assert guess_from_columns(columns, {}).task == task


QUESTIONS = {
    "question": ["who came", "what came", "who went"] * 3,
    "context": ["Ann came here", "a cat came in", "Bob went out"] * 3,
    "answer": ["Ann", "a cat", "Bob"] * 3,
}


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("score", ["0.5", "1.25", "3.0"], "regression"),
        ("rating", ["1", "2", "5"], "classification"),
        ("is_correct", ["0", "1", "1"], "classification"),
        ("checked", ["0", "1", "1"], "classification"),
        ("intent", ["find", "tell", "find"], "classification"),
    ],
)
@pytest.mark.parametrize("names", [{}, {"question": "query", "context": "document"}])
def test_labels_of_questions_with_answers(name, values, kind, names):
    """They are what is to be learned, and the answers are not, though they lie in the contexts."""
    columns = {names.get(column, column): texts for column, texts in QUESTIONS.items()} | {name: values * 3}
    found = guess_from_columns(columns, {}).task
    assert (found["kind"], found["label"]) == (kind, name)
    asked = guess_from_columns(columns, {"kind": "question-answering"}).task
    assert asked == guess_from_columns(columns, {"answer": "answer"}).task == {"kind": "question-answering"} | names


def test_columns_that_questions_do_not_use(write, capsys):
    """One with a few values may be a label; marks of questions without an answer are none."""
    rows = [dict(zip(QUESTIONS, row, strict=True)) for row in zip(*QUESTIONS.values(), strict=True)]
    path = write("a.jsonl", [row | {"source": "ab"[n % 2], "is_impossible": "0"} for n, row in enumerate(rows)])
    line = "column 'source', which looks like labels (task.label=source learns them in the place of answers)"
    assert said_of(path, capsys) == line
    found = guess_task(path, {"label": "source"})[0].task
    assert (found["kind"], found["label"]) == ("classification", "source")
    rows = [row | {"source": "ab"[n % 2], "hint": f"a hint for row {n}"} for n, row in enumerate(rows)]
    path = write("b.jsonl", [row | {"level": n % 3} for n, row in enumerate(rows)])
    line = (
        "column 'hint', which looks like text, and columns 'source', 'level', which look like labels "
        "(task.label=source learns them in the place of answers)"
    )
    assert said_of(path, capsys) == line


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"pair": "context"}, "classification"),
        ({"labels": ["Ann", "a cat", "Bob"]}, "classification"),
        ({"label_separator": ";"}, "multi-label"),
        ({"choices": ["opa", "opb", "opc"]}, "multiple-choice"),
    ],
)
def test_settings_of_another_kind_rule_questions_out(given, kind):
    columns = QUESTIONS | {"opa": ["Ann", "x", "y"] * 3, "opb": ["z", "a cat", "y"] * 3, "opc": ["x", "z", "Bob"] * 3}
    assert guess_from_columns(columns, {})
    found = guess_from_columns(columns, given)
    assert found.task["kind"] == kind
    parse_settings({"task": found.task | given}, "a.csv")


def test_settings_of_two_kinds(write):
    path = write("a.csv", table("text,label", "good,yes", "bad,no"))
    with pytest.raises(UserError, match=r"a\.csv: no kind of task fits its columns \(text, label\)"):
        guess_task(path, {"text": "text", "label": "label", "answer": "label"})


@pytest.mark.parametrize(
    ("first", "second", "other"),
    [("question", "answer", "source"), ("text", "aspect", "source"), ("prompt", "response", "model")],
)
def test_a_label_called_as_the_second_of_two_texts(first, second, other):
    """With few values and no column with the name of a label it is none of the texts."""
    columns = {
        first: [f"a text of some words {n}" for n in range(30)],
        second: ["agree", "disagree"] * 15,
        other: ["web", "app", "mail"] * 10,
    }
    task = {"kind": "classification", "text": first, "label": second}
    assert guess_from_columns(columns, {}).task == task
    assert guess_from_columns(columns | {"label": ["x", "y", "z"] * 10}, {}).task["pair"] == second
    assert guess_from_columns(columns, {"label": other}).task["pair"] == second
    texts = columns | {second: [f"another text of some words {n}" for n in range(30)]}
    expected = {"kind": "classification", "text": first, "pair": second, "label": other}
    assert guess_from_columns(texts, {}).task == expected


def test_a_pair_with_few_second_texts():
    """Names that say it are believed."""
    columns = {
        "premise": [f"a text of some words {n}" for n in range(30)],
        "hypothesis": ["it is so", "it is not", "who knows"] * 10,
        "verdict": ["a", "b"] * 15,
    }
    expected = {"kind": "classification", "text": "premise", "pair": "hypothesis", "label": "verdict"}
    assert guess_from_columns(columns, {}).task == expected


def test_answers_that_csv_made_texts_of():
    """As ``datasets.to_csv`` writes them: no classes, and not in their contexts."""
    columns = {
        "id": [str(n) for n in range(24)],
        "title": ["Ann", "Bob"] * 12,
        "context": [f"the name of cat {n} is Ann{n}" for n in range(24)],
        "question": [f"what is cat {n} called" for n in range(24)],
        "answers": [f"{{'text': ['Ann{n}'], 'answer_start': array([17], dtype=int32)}}" for n in range(24)],
    }
    line = (
        "columns 'question', 'context', 'answers' look like questions, but most answers do not occur in their "
        "contexts; write one answer a row in 'answers', as it stands there, and save several as JSON lines or "
        "Parquet; or name the columns, as in task.text=COLUMN"
    )
    with pytest.raises(UserError, match=f"^{re.escape(line)}$"):
        guess_from_columns(columns, {})
    found = guess_from_columns(columns | {"verdict": ["a", "b", "c"] * 8}, {}).task
    assert found["kind"] == "classification"
    assert guess_from_columns(columns, {"label": "title"}).task["label"] == "title"


def test_an_answer_that_is_given_is_taken(write):
    """Also where the record has others, as on the hub."""
    record = {"question": "?", "context": "a b c", "answers": {"text": ["b"], "answer_start": [2]}, "gold": "c"}
    path = write("a.jsonl", [record])
    expected = {"kind": "question-answering", "answer": "gold", "no_answer": False}
    assert guess_task(path, {"answer": "gold"})[0].task == expected
    path = write("b.jsonl", [record | {"gold": "d"}])
    with pytest.raises(UserError, match=r"b\.jsonl line 1: the answer 'd' does not occur in the context"):
        guess_task(path, {"answer": "gold"})


@pytest.mark.parametrize(
    "answers",
    [["yes", "no", "no"] * 3, ["A", "b", "c"] * 3, ["Maybe", "true", "False"] * 3, ["A", "B", "C"] * 8],
)
def test_answers_that_only_look_as_if_they_lay_in_the_text(answers):
    """Classes stay classes in small files, and parts of words are no answers."""
    contexts = [f"no yes maybe A b B C c Maybe true False {n}" for n, _ in enumerate(answers)]
    columns = {"question": ["is it", "was it", "who is"] * (len(answers) // 3), "context": contexts, "answer": answers}
    task = {"kind": "classification", "text": "question", "pair": "context", "label": "answer"}
    assert guess_from_columns(columns, {}).task == task


@pytest.mark.parametrize(
    ("answers", "contexts", "expected"),
    [
        (["art", "all"], ["a party", "he smalls"], False),
        (["art", "all"], ["a party of art", "(all)"], True),
        (["71", "5"], ["in 710", "15 of them"], False),
        (["首都", "710年"], ["東京は日本の首都である。", "西暦710年に"], True),
        (["ärz", "ж"], ["die März", "уже"], False),
        ([f"name{n % 4}" for n in range(40)], [f"here name{n % 4}" for n in range(40)], False),
        ([f"name{n % 25}" for n in range(300)], [f"here name{n % 25}" for n in range(300)], True),
    ],
)
def test_answers_lie_in_texts_as_whole_words(answers, contexts, expected):
    assert lie_in(answers, contexts) is expected


WORDS = {"word": ["bank", "bank", "cell", "cell"] * 3, "pos": ["N", "V", "N", "N"] * 3}


@pytest.mark.parametrize(
    "columns",
    [
        {"sentence": ["a bank of sand", "a bank of sand", "the old cell", "the old cell"] * 3},
        {
            "sentence": ["a bank of sand", "a bank of sand", "the old cell", "the old cell"] * 3,
            "label": [0, 1, 1, 1] * 3,
        },
        {"sentence_id": [1, 1, 2, 2] * 3, "label": ["yes", "no", "yes", "no"] * 3},
        {"sentence_1": ["1", "1", "2", "2"] * 3, "sentence_2": ["3", "4", "5", "5"] * 3, "grade": ["a", "b"] * 6},
    ],
)
def test_words_that_are_judged_in_a_sentence(columns):
    """Without tags such as B-PER rows are parts of a sentence only where nothing else is to be learned of them."""
    assert guess_from_columns(WORDS | columns, {}).task["kind"] == "classification"
    tags = {"tag": ["O", "B-x", "O", "I-x"] * 3}
    given = {} if "sentence_1" not in columns else {"id": "sentence_1"}
    assert guess_from_columns(WORDS | columns | tags, given).task["kind"] == "token-classification"


def test_words_of_japanese_sentences():
    columns = {"word": ["犬", "猫"] * 3, "pos": ["名詞", "動詞"] * 3}
    ids = {"sentence": ["文1", "文1", "文2", "文2", "文3", "文3"]}
    texts = {"sentence": ["犬が庭を走っている。", "犬が庭を走っている。", *["猫は寝ている。今日も。"] * 4]}
    assert guess_from_columns(columns | ids, {}).task["kind"] == "token-classification"
    assert guess_from_columns(columns | texts, {}).task["kind"] == "classification"


def said_of(path, capsys, *overrides):
    guess_recipe(path, overrides)
    return capsys.readouterr().err.rstrip().partition("; not used: ")[2]


def test_texts_that_are_not_used_are_named(write, capsys):
    def texts(what):
        return [f"{what} of some words in row {n}" for n in range(12)]

    def rows(**more):
        values = {"text": texts("text"), "label": ["yes", "no"] * 6, **more}
        names = ["text", "label", *more]
        return [dict(zip(names, row, strict=True)) for row in zip(*values.values(), strict=True)]

    others = {
        "author": ["Ann Bell"] * 12,
        "seen": [f"Mon Jan 3 10:22:{n} UTC 2022" for n in range(10, 22)],
        "url": [f"https://a.b/some-words-in/{n}" for n in range(12)],
    }
    path = write("a.jsonl", rows(**others))
    assert said_of(path, capsys) == ""
    path = write("b.jsonl", rows(title=texts("title"), **others))
    line = "column 'title', which looks like text (task.pair=title takes it as the second text)"
    assert said_of(path, capsys) == line
    path = write("c.jsonl", rows(**{"my title": texts("title"), "note": texts("note")}))
    line = "columns 'my title', 'note', which look like texts ('task.pair=my title' takes it as the second text)"
    assert said_of(path, capsys) == line
    line = "column 'note', which looks like text (task.text=COLUMN task.pair=COLUMN take other columns)"
    assert said_of(path, capsys, "task.text=text", "task.pair=my title") == line
    path = write("d.jsonl", rows(見出し=[f"これは第{n}の見出し" for n in range(12)]))
    assert said_of(path, capsys).startswith("column '見出し', which looks like text ('task.pair=見出し' takes it as")


def test_texts_that_choices_do_not_use(write, capsys):
    names = ("question", "hint", "choice0", "choice1", "choice2", "label")
    rows = [dict(zip(names, ("?", f"a hint for row {n}", "x", "y", "z", n % 3), strict=True)) for n in range(6)]
    line = "column 'hint', which looks like text (task.context=hint puts it before each question)"
    assert said_of(write("a.jsonl", rows), capsys) == line
    path = write("b.jsonl", [row | {"passage": "p"} for row in rows])
    line = "column 'hint', which looks like text (task.context=COLUMN takes another column)"
    assert said_of(path, capsys) == line
    questions = [{"context": "a b", "question": "?", "answers": {"text": ["b"], "answer_start": [2]}} for _ in range(3)]
    path = write("c.jsonl", [row | {"hint": f"a hint for row {n}"} for n, row in enumerate(questions)])
    assert said_of(path, capsys) == "column 'hint', which looks like text"


@pytest.mark.parametrize(
    ("labels", "kind", "reason"),
    [
        (["a", "b", None], "classification", "holds 2 different values"),
        ([["a"], ["b"], None], "multi-label", "holds lists"),
        ([1.5, 2.25, None], "regression", "holds 2 different numbers"),
    ],
)
def test_missing_labels_say_nothing(write, labels, kind, reason):
    rows = [{"text": f"text {n}", "label": label} for n, label in enumerate(labels * 3)]
    found = guess_task(write("a.jsonl", rows), {})[0]
    assert found.task["kind"] == kind and reason in found.reason


@pytest.mark.parametrize("labels", [("1.5", "1e999"), (1.5, 10**400)])
def test_numbers_without_end(write, labels):
    """They are labels, as any other text."""
    rows = [{"text": f"text {n}", "label": label} for n, label in enumerate(labels * 3)]
    assert guess_task(write("a.jsonl", rows), {})[0].task["kind"] == "classification"


@pytest.mark.parametrize(("number", "epochs"), [(320, 20), (640, 10), (1000, 7), (3000, 3)])
def test_few_examples_are_shown_more_often(write, number, epochs):
    path = write("a.csv", table("text,label", "good,yes", "bad,no", times=number // 2))
    assert guess_recipe(path)["train"]["epochs"] == epochs


@pytest.mark.parametrize(
    ("name", "content", "given", "message"),
    [
        (
            "a.csv",
            table("id,title of it", *[f"{n},text {n}" for n in range(9)], times=1),
            {},
            "a.csv: no kind of task fits its columns (id, title of it); name them, as in task.text=COLUMN "
            "task.label=COLUMN, or give a recipe",
        ),
        ("a.csv", table("x,y", "1,2", "2,1"), {}, "no kind of task fits its columns (x, y)"),
        (
            "a.csv",
            table("text,label", "a,1"),
            {"kind": "multiple-choice"},
            "a.csv: no multiple-choice fits its columns",
        ),
        ("a.csv", table("text,label", "a,1"), {"kind": "classfication"}, "unknown task.kind 'classfication'; did you"),
        ("a.csv", table("text,label", "a,1"), {"kind": "pretraining"}, "unknown task.kind 'pretraining'"),
        ("a.csv", table("text,label", "a,1"), {"label": "lable"}, "task.label: "),
        (
            "a.csv",
            table("text,label", "a,1"),
            {"label": "lable"},
            "a.csv: no column 'lable'; there is: text, label; did you mean 'label'?",
        ),
        (
            "a.bio",
            "a O\nb B-X\n",
            {"kind": "classification"},
            "a.bio: for task.kind=classification nothing is found in it; each line holds a word and one of 2 tags: "
            "token-classification",
        ),
        (
            "notes.txt",
            "One line of prose.\nAnd one.\n",
            {},
            "line 2: 2 fields where line 1 has 4; each word needs them all, and a blank line ends a sentence; "
            "the ending of the name tells no table (csv, tsv, jsonl, json, parquet), so a word with its tag was looked "
            "for in each line; rename it, or give task.format",
        ),
        (
            "a.csv",
            table("text;label", f"{TEXT};2,5", "another;1,0", "more;4"),
            {},
            "a.csv: a label such as '2,5' may be a number or two labels; write numbers with a point, or set "
            "task.kind=multi-label",
        ),
        (
            "a.csv",
            table("question,choice1,choice2,choice3,answer", "Who?,x,y,z,first", "When?,u,v,w,second"),
            {},
            "a.csv: columns 'choice1', 'choice2', 'choice3' look like choices, but 'answer' is not always the",
        ),
        (
            "a.csv",
            table("text\tlabel", "a\tb"),
            {},
            "a.csv: its fields are parted by tabs, not by commas; set task.format",
        ),
        (
            "a.csv",
            "word,tag\nEU,B-ORG\nis,O\n",
            {},
            "a.csv: column 'tag' looks like tags of single words, one in each row; name the column of the words and "
            "the one that tells the sentences apart, task.words=COLUMN task.id=COLUMN, or write a word a line",
        ),
        (
            "a.tsv",
            "sentence\tword\ttag\tn\n1\tEU\tB-ORG\t7\n1\tis\tO\t8\n",
            {},
            "a.tsv: each row holds a word and one of 2 tags, and column 'sentence' the sentence; such rows are read "
            "from CSV with names of columns alone: save it so, or write a word a line, and a blank line between",
        ),
        (
            "a.jsonl",
            [{"toks": ["a"], "marks": ["O"]}],
            {"tags": "marks"},
            "a.jsonl: no kind of task fits its columns (toks, marks)",
        ),
        ("a.csv", table("question,context,answer", "who,Ann sees,Ann"), {"header": "maybe"}, "a.csv: task.header"),
        ("a.csv", "sentence,word,tag\n1,EU,B-ORG\n1,,O\n", {}, "a.csv line 3: an empty word or tag; fill it in"),
        ("a.csv", "sentence,word,tag\n1,EU,B-ORG\n1,is,O\n", {"words": "wrod"}, "no column 'wrod'; there is: "),
        ("a.tsv", "word\ttag\nEU\tB-ORG\nis\tO\n", {}, "a.tsv line 1: names of columns, and a word with its tag in"),
        ("a.xlsx", "PK", {}, "a.xlsx: a spreadsheet is not read; save its table as CSV"),
        ("a.json", '{"data": ', {}, "a.json line 1: not JSON"),
        ("a.json", '{"data": [{}]}', {}, "a.json: not in SQuAD's layout: 'paragraphs' is missing in data[0]"),
        (
            "a.json",
            '{"data": [{"a": 1}, {"paragraphs": 1}]}',
            {},
            "a.json: not in SQuAD's layout: 'paragraphs' is missing",
        ),
    ],
)
def test_mistakes(write, name, content, given, message):
    with pytest.raises(UserError, match=re.escape(message)) as raised:
        guess_task(write(name, content), given)
    assert "\n" not in str(raised.value)


def test_standard_input_is_no_file_to_guess_from():
    with pytest.raises(UserError, match="a guess reads the file twice, and standard input can be read once"):
        guess_task("-", {})


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("glue/CoLA-train.tsv", {"kind": "classification", "text": "3", "label": "1", "header": False}),
        (
            "glue/MRPC-train.tsv",
            {"kind": "classification", "text": "#1 String", "pair": "#2 String", "label": "Quality"},
        ),
        ("glue/RTE-train.tsv", {"kind": "classification", "text": "sentence1", "pair": "sentence2", "label": "label"}),
        ("glue/SST-2-train.tsv", {"kind": "classification", "text": "sentence", "label": "label"}),
        ("jglue/jsts-train.json", {"kind": "regression", "text": "sentence1", "pair": "sentence2", "label": "label"}),
        (
            "jglue/jcommonsenseqa-train.json",
            {
                "kind": "multiple-choice",
                "question": "question",
                "choices": [f"choice{n}" for n in range(5)],
                "label": "label",
                "label_is": "number",
            },
        ),
        (
            "arc/arc_easy.train.jsonl",
            {
                "kind": "multiple-choice",
                "question": "question",
                "choices": ["choices"],
                "label": "label",
                "label_is": "number",
            },
        ),
        ("conll2003/train.iob2", {"kind": "token-classification"}),
        ("ner-ja/train.bio", {"kind": "token-classification"}),
        ("jaquad/dev.json.xz", {"kind": "question-answering", "no_answer": False, "scoring": "characters"}),
        ("squad/dev-v1.1.json.xz", {"kind": "question-answering", "no_answer": False}),
        (
            "jsick/train.tsv",
            {
                "kind": "classification",
                "text": "sentence_A_Ja",
                "pair": "sentence_B_Ja",
                "label": "entailment_label_Ja",
            },
        ),
    ],
)
def test_development_data(data, name, expected):
    assert guess_task(data / name, {})[0].task == expected
