import subprocess
import sys

import pytest

from reflection.languages import asks_for, language_of, may_hold

TEXTS = {
    "ar": "يحدث المد والجزر بسبب جاذبية القمر الذي يرفع مياه البحار ويخفضها مرتين في اليوم، كما تساهم الشمس في ذلك.",
    "cs": "Příliv a odliv způsobuje přitažlivost Měsíce, který dvakrát denně zvedá a snižuje hladinu oceánů.",
    "da": "Tidevandet skyldes månens tiltrækningskraft, som hæver og sænker vandet i havene to gange om dagen.",
    "de": "Die Gezeiten entstehen durch die Anziehungskraft des Mondes, der das Wasser der Meere zweimal am Tag hebt.",
    "en": "Tides are caused by the pull of the moon, which lifts the water of the oceans twice a day. The sun helps.",
    "es": "Las mareas se deben a la atracción de la luna, que levanta el agua de los océanos dos veces al día.",
    "fr": "Les marées sont causées par l'attraction de la lune, qui soulève l'eau des océans deux fois par jour.",
    "hi": "ज्वार-भाटा चंद्रमा के गुरुत्वाकर्षण के कारण होता है, जो दिन में दो बार समुद्र के पानी को ऊपर उठाता है।",
    "id": "Pasang surut disebabkan oleh gaya tarik bulan, yang menaikkan dan menurunkan air laut dua kali sehari.",
    "it": "Le maree sono causate dall'attrazione della luna, che solleva l'acqua degli oceani due volte al giorno.",
    "ja": "潮の満ち引きは月の引力によって起こり、海の水は一日に二回上がったり下がったりします。",
    "ko": "조수는 달의 인력 때문에 생기며, 하루에 두 번 바닷물이 올라갔다 내려갑니다. 태양도 영향을 줍니다.",
    "nl": "De getijden ontstaan door de aantrekkingskracht van de maan, die het water van de zee optilt.",
    "pl": "Pływy powstają wskutek przyciągania Księżyca, który dwa razy dziennie podnosi i opuszcza wodę w oceanach.",
    "pt": "As marés são causadas pela atração da lua, que levanta a água dos oceanos duas vezes por dia.",
    "ru": "Приливы возникают из-за притяжения Луны, которая дважды в день поднимает и опускает воду в океанах.",
    "sv": "Tidvattnet orsakas av månens dragningskraft, som höjer och sänker vattnet i haven två gånger om dagen.",
    "tr": "Gelgitler, okyanuslardaki suyu günde iki kez yükselten ve alçaltan Ay'ın çekim kuvvetinden kaynaklanır.",
    "uk": "Припливи виникають через тяжіння Місяця, який двічі на день піднімає та опускає воду в океанах.",
    "vi": "Thủy triều là do lực hấp dẫn của mặt trăng gây ra, làm nước biển dâng lên và hạ xuống hai lần mỗi ngày.",
    "zh": "潮汐是由月球的引力引起的，月球每天两次使海水上升和下降。太阳也对潮汐有一定的影响。",
}
FAMILIES = {
    "da": "Tidevannet skyldes månens tiltrekningskraft, som hever og senker vannet i havene to ganger om dagen.",  # no
    "hr": "Plimu i oseku izaziva privlačna sila Meseca, koja dva puta dnevno podiže i spušta vodu u okeanima.",  # sr
    "cs": "Príliv a odliv spôsobuje príťažlivosť Mesiaca, ktorý dvakrát denne dvíha a znižuje hladinu oceánov.",  # sk
}


@pytest.mark.parametrize(("language", "text"), TEXTS.items(), ids=TEXTS)
def test_a_sentence_or_two_tell_the_language(language, text):
    assert language_of(text) == language
    assert language_of(f"{text}\n\n" * 50) == language
    assert may_hold(text, language)
    assert not any(may_hold(text, other) for other in TEXTS if other != language)


@pytest.mark.parametrize(("language", "text"), FAMILIES.items(), ids=FAMILIES)
def test_close_languages_count_as_one(language, text):
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "The moon.",
        "12, 15, 19, 23, 30, 42, 58, 60, 77, 81, 90, 95, 100, 112, 130, 145, 160, 177, 190, 201",
        "https://www.example.org/the-tides-are-caused-by-the-pull-of-the-moon-which-lifts-the-water",
        "```\nTides are caused by the pull of the moon, which lifts the water of the oceans.\n```",
        "```python\nTides are caused by the pull of the moon, which lifts the water of the oceans.",
        "def tides(moon, water):\n    for ocean in oceans(water):\n        lift(ocean)\n    return the_water\n" * 3,
        "SELECT the, water, of FROM oceans\nWHERE moon IN (SELECT name FROM moons)\nORDER BY tides(moon);\n" * 3,
        "<p>Tides are caused by the pull of the moon, which lifts the water of the oceans.</p>",
        f"{TEXTS['en']} {TEXTS['de']}",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore",
        "U5Fv7VuQZ8, f7VuDeB5w6U, t2UeNM6cHyj, 0joJ6p3qZq9, 7EabD6MiPw, a4yJjePzCft, uMEsL4CfTsd, 5pxKxAxHG2e",
        "\ud800" * 100,
    ],
    ids=[
        *("empty", "blank", "short", "numbers", "URL", "code block", "open code block", "Python", "SQL", "HTML"),
        *("two languages", "Latin", "passwords", "half surrogates"),
    ],
)
def test_in_doubt_there_is_no_language(text):
    assert language_of(text) is None


def test_prose_around_code_tells_the_language():
    code = "```python\n# the tides are caused by the pull of the moon\nprint('the water')\n```\n"
    assert language_of(f"{code}{TEXTS['de']}\nhttps://example.org/the-water-of-the-oceans\n") == "de"


def test_a_short_text_may_hold_several_languages_and_a_long_one_the_two_it_mixes():
    assert may_hold("Bonjour, madame", "fr")
    assert not may_hold("Bonjour, madame", "fr", min_bytes=60)
    assert not may_hold("", "en")
    mixed = "The word is short. Das Wort ist kurz. It has four letters. Es hat vier Buchstaben."
    assert may_hold(mixed, "de") or may_hold(mixed, "en")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Write a French poem.", "fr"),
        ("Schreibe einen Brief auf Englisch.", "en"),
        ("Traduis cette phrase.", "de"),
        ("Übersetze den Satz.", "en"),
        ("Translate this.", "zh"),
        ("把这句话翻译一下。", "en"),
        ("请用英语回答。", "en"),
        ("英語で書いてください。", "en"),
        ("Напиши это по-английски.", "en"),
        ("اكتب رسالة باللغة الإنجليزية.", "en"),
        ("Escribe una carta en INGLÉS.", "en"),
        ("Name it in three languages.", "sv"),
    ],
)
def test_an_instruction_that_names_a_language_or_speaks_of_translation_asks_for_it(text, language):
    assert asks_for(text, language)


@pytest.mark.parametrize(
    ("text", "language"),
    [("Write a French poem.", "de"), ("Beschreibe die deutsche Geschichte.", "en"), ("Explain the tides.", "en")],
)
def test_an_instruction_that_names_none_or_another_does_not(text, language):
    assert not asks_for(text, language)


def test_importing_it_loads_neither_the_classifier_nor_torch():
    code = "import sys, reflection.guards; print({'py3langid', 'numpy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr
