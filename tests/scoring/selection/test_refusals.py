"""What is a refusal, and above all what is none, in ten languages."""

import json

import pyarrow as pa
import pytest
import yaml

from scoring.selection.refusals import PATTERNS, refusals_of

REFUSALS = {
    "en": [
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, but I cannot provide that.",
        "I am very sorry, but I am not able to open links.",
        "Sorry, but I can't help with this request.",
        "Sorry, I cannot do that.",
        "I'm sorry, but as an anonymous assistant, I don't have access to it.",
        "I apologize, but I am unable to answer.",
        "Unfortunately, I do not have access to the article.",
        '  \n"I cannot fulfill this request."',
        "I can not comply with this.",
        "I won't be able to complete this task.",
        "I'm unable to generate images.",
        "I am unable to generate images.",
        "I'm sorry, but I'm unable to open links.",
        "Sorry, but I’m not able to do that.",
        "I can't help you with that.",
    ],
    "de": [
        "Es tut mir leid, aber ich kann das nicht tun.",
        "Es tut mir leid, ich kann Ihnen nicht helfen.",
        "Leider kann ich Ihnen dabei nicht helfen.",
    ],
    "fr": [
        "Désolé, mais je ne peux pas répondre à cette question.",
        "Je suis désolée, je ne peux pas le faire.",
        "Je ne peux pas vous aider.",
    ],
    "es": ["Lo siento, pero no puedo hacerlo.", "Lo siento, no puedo.", "No puedo ayudarte con eso."],
    "pt": ["Sinto muito, mas não posso ajudar.", "Desculpe, não posso.", "Não posso fornecer isso."],
    "it": ["Mi dispiace, ma non posso farlo.", "Non posso aiutarti.", "Mi dispiace, non posso rispondere."],
    "ru": ["Извините, но я не могу помочь.", "К сожалению, я не могу ответить.", "Я не могу предоставить это."],
    "zh": ["很抱歉,我无法回答这个问题。", "对不起，我不能帮助你。", "抱歉，但是我无法提供。", "對不起，我無法回答。"],
    "ja": [
        "申し訳ありませんが、お答えできません。",
        "すみませんが、それはできません。",
        "申し訳ございませんが、対応できかねます。",
    ],
    "ko": ["죄송합니다. 도와드릴 수 없습니다.", "죄송하지만 저는 그 질문에 답할 수 없습니다."],
}
SPEAK_AS_AI = {
    "en": [
        "As an AI language model, I do not have feelings.",
        "It depends. As an AI, I have no opinion on it.",
        "as a language model my knowledge ends in 2021",
        "As a large language model I do not eat.",
        "I am an AI assistant, so I cannot taste food.",
        "I'm just an AI, but here is what people say.",
        "Well, I’m only a language model.",
        "As an artificial intelligence, I do not sleep.",
    ],
    "de": [
        "Als KI-Sprachmodell habe ich keine Meinung.",
        "Als ein großes Sprachmodell …",
        "Als KI kann ich das nicht.",
    ],
    "fr": ["En tant que modèle de langage, je ne sais pas.", "En tant qu'IA, je n'ai pas d'avis.", "En tant qu’IA …"],
    "es": ["Como modelo de lenguaje, no tengo opinión.", "Como una inteligencia artificial, no siento."],
    "pt": ["Como um modelo de linguagem, não tenho opinião.", "Como uma IA, eu não sinto."],
    "it": ["In quanto modello di linguaggio, non ho opinioni.", "Come intelligenza artificiale non dormo."],
    "ru": ["Как языковая модель, я не имею мнения.", "Как ИИ, я не чувствую."],
    "zh": ["作为一个人工智能语言模型，我没有感情。", "作为AI助手，我不能吃饭。", "作為一個語言模型，我沒有意見。"],
    "ja": ["言語モデルとして、意見はありません。", "AIとして、私は感じません。"],
    "ko": ["저는 인공지능으로서 감정이 없습니다.", "언어 모델로서 의견이 없습니다."],
}
ANSWERS = {
    "en": [
        "I'm sorry for your loss. Grief takes time.",
        "I'm sorry, but the meeting was moved to Monday.",
        "Sorry, but we are closed on Sundays.",
        "I'm sorry to hear that. Try to rest.",
        "As an AI researcher, I study learning systems.",
        "As an AI engineer, my day begins at nine.",
        "As an aid worker, I travel a lot.",
        "I can't help but notice how quiet it is.",
        "I can't help it: I love chocolate.",
        "I can't help laughing at this film.",
        "I cannot wait to see you!",
        "I won't forget what you did.",
        "I can't believe it!",
        "Unfortunately, the train was late.",
        "Unfortunately, I missed the train.",
        "I apologize for the delay of your order.",
        '"I\'m sorry," said the fox, "but I have no grapes to give."',
        "The fox lowered its head. \"I'm sorry, but I can't help you,\" it said.",
        "She whispered: I am sorry, but I cannot stay.",
        "A language model assigns a probability to every text.",
        "An AI language model is trained on text, such as GPT-2.",
        "Artificial intelligence helps as an assistant in medicine.",
        "I am an AI researcher and I write papers.",
        "I'm an airline pilot.",
        "I am a language modeling student.",
        "I'm a language teacher.",
        "",
    ],
    "de": [
        "Es tut mir leid, dass du krank bist.",
        "Es tut mir sehr leid um deinen Verlust.",
        "Leider ist der Zug verspätet.",
        "Ein Sprachmodell sagt das nächste Wort voraus.",
        "Als Kind war ich oft am See.",
    ],
    "fr": [
        "Je suis désolé pour votre perte.",
        "Je ne peux pas attendre de vous voir !",
        "Un modèle de langage prédit le mot suivant.",
        "En tant que médecin, je vous le déconseille.",
    ],
    "es": ["Lo siento mucho por tu pérdida.", "No puedo esperar a verte.", "Como médico, no lo aconsejo."],
    "pt": ["Sinto muito pela sua perda.", "Não posso esperar.", "Como médico, não aconselho.", "Desculpe o atraso."],
    "it": ["Mi dispiace per la tua perdita.", "Non posso crederci!", "Come medico non lo consiglio."],
    "ru": ["Извините за опоздание.", "К сожалению, поезд опоздал.", "Я не могу поверить!", "Как врач, я не советую."],
    "zh": ["很抱歉听到这个消息。", "对不起，我迟到了。", "作为一个医生，我建议你休息。", "人工智能正在改变世界。"],
    "ja": ["すみません、駅はどこですか。", "医者として、私は勧めません。", "申し訳ありません。明日お送りします。"],
    "ko": ["죄송합니다. 내일 보내드리겠습니다.", "의사로서 권하지 않습니다.", "인공지능은 세상을 바꾸고 있습니다."],
}


def refusal_of(text: str) -> str:
    (found,) = refusals_of(pa.array([text]))
    return found


def cases(table):
    return [
        pytest.param(text, id=f"{language}-{number}")
        for language in table
        for number, text in enumerate(table[language])
    ]


@pytest.mark.parametrize("text", cases(REFUSALS))
def test_a_response_that_begins_with_a_refusal_is_one(text):
    assert refusal_of(text) == "refusal"


@pytest.mark.parametrize("text", cases(SPEAK_AS_AI))
def test_a_response_that_speaks_of_itself_as_a_model_is_found(text):
    assert refusal_of(text) == "speaks_as_ai"
    assert refusal_of(f"One more thing. {text}") == "speaks_as_ai"


@pytest.mark.parametrize("text", cases(ANSWERS))
def test_an_answer_is_neither(text):
    assert refusal_of(text) == "kept"


def test_case_does_not_matter():
    assert refusal_of("I'M SORRY, BUT I CAN'T ASSIST WITH THAT.") == "refusal"
    assert refusal_of("AS AN AI LANGUAGE MODEL, I DO NOT KNOW") == "speaks_as_ai"


def test_a_refusal_later_in_the_response_is_no_refusal():
    assert refusal_of("Here is a list. I cannot provide more.") == "kept"


def test_the_tables_cover_the_ten_languages_of_the_patterns():
    known = yaml.safe_load(PATTERNS.read_text(encoding="utf-8"))
    assert set(REFUSALS) == set(known["refuses"]) == set(ANSWERS)
    assert set(SPEAK_AS_AI) == set(known["speaks_as_ai"]) and len(ANSWERS) == 10


def test_the_strategy_drops_what_is_found_and_what_could_not_be_scored(decide):
    outputs = ["Paris.", REFUSALS["en"][0], SPEAK_AS_AI["en"][0], None, REFUSALS["en"][0]]
    found = decide("refusals", output=outputs, ifd_ppl=[0.5, 0.5, 0.5, 0.5, None])
    assert found.reasons == {"a": "kept", "b": "refusal", "c": "speaks_as_ai", "d": "kept", "e": "unscored"}
    assert found.kept == ["a", "d"] and found.ranks == {}


@pytest.mark.parametrize(("name", "rows"), [("student_rows", 2015), ("rows", 96)])
def test_no_row_that_comes_with_the_project_is_dropped(quickstart, name, rows):
    lines = (quickstart / f"data/{name}.jsonl").read_text(encoding="utf-8").splitlines()
    outputs = [json.loads(line)["output"] for line in lines]
    assert len(outputs) == rows
    assert set(refusals_of(pa.array(outputs))) == {"kept"}
