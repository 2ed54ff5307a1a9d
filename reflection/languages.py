"""In which language a text is, told only where that is beyond doubt, and whether an instruction names a language."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# Of prose in UTF-8: 20 Chinese characters tell as much as 60 Latin letters.
MIN_BYTES = 60
# The time grows with the sample.
MAX_LETTERS = 128
CONFIDENT = 0.95
PLAUSIBLE = 0.1

# Languages so close that a short sample does not tell them apart: they count as one.
_FAMILIES = {
    **dict.fromkeys(("ary", "arz"), "ar"),
    **dict.fromkeys(("an", "ext"), "es"),
    **dict.fromkeys(("wuu", "yue"), "zh"),
    **dict.fromkeys(("nn", "no"), "da"),
    **dict.fromkeys(("bs", "sl", "sr"), "hr"),
    **dict.fromkeys(("jv", "ms"), "id"),
    **dict.fromkeys(("gom", "mr", "ne", "sa"), "hi"),
    "pcm": "en",
    "sk": "cs",
}
# The languages that are told at all, and what they are called in English, by their speakers and by their neighbours.
# In others (Latin, Occitan, …) the classifier puts lists of names, chords and code.
_NAMES = {
    "ar": r"arab|عرب|阿拉伯|アラビア",
    "cs": r"czech|čes|tschech|tchèque|checo|slovak|slowak|sloven",
    "da": r"danish|dansk|dänisch|danois|danés|norwegian|norsk|norweg|norvég|noruego",
    "de": r"german|deutsch|allemand|alem[aáã]n|tedesc|duits|tysk|niemieck|немец|德[语文語]|ドイツ|독일",
    "el": r"greek|ελλην|griech|grec|griego",
    "en": r"english|englisch|anglais|ingl[eêé]s|engels|engelsk|angiel|anglick|англ|英[语文語]|영어|نجليزي|ingiliz"
    r"|i̇ngiliz|tiếng anh|inggris|अंग्रे|αγγλικ|אנגלית|angol|englant|engleză",
    "es": r"spanish|spanisch|español|espagnol|spagnol|castellano|espanhol|испанск|西班牙|スペイン",
    "fa": r"persian|farsi|فارسی|persisch|persan",
    "fi": r"finnish|suomi|suomeksi|finnisch|finnois|finland|finlandés",
    "fr": r"french|français|französisch|franc[eé]s|francese|frans|fransk|francusk|французск|法[语文語]|フランス|프랑스",
    "he": r"hebrew|עברית|hebräisch|hébreu|hebreo",
    "hi": r"hindi|हिन्?दी|हिंदी|marathi|nepali|sanskrit",
    "hr": r"croat|hrvatsk|kroat|serb|srpsk|bosn|sloven|slowen",
    "hu": r"hungarian|magyar|ungarisch|hongrois|húngaro",
    "id": r"indonesia|malay",
    "it": r"italian|italien|italiano|итальянск|意大利|イタリア",
    "ja": r"japan|japon|giappon|日[本语文語]|японск|일본|haiku",
    "ko": r"korean|한국|koreanisch|coréen|coreano|韩[语文国]|韓国|корейск",
    "nl": r"dutch|nederlands|niederländisch|néerlandais|neerlandés|holandés|olandese",
    "pl": r"polish|polski|polnisch|polonais|polaco|polacco|польск",
    "pt": r"portugu|portoghese|португальск|葡萄牙|ポルトガル",
    "ro": r"romanian|român|rumän|roumain|rumano",
    "ru": r"russ|русск|ruso|俄[语文語]|ロシア|러시아",
    "sv": r"swedish|svensk|schwedisch|suédois|sueco|svedese",
    "th": r"thai|ไทย",
    "tr": r"turkish|türk|turc|turco|турецк",
    "uk": r"ukrain|україн|ucrani",
    "vi": r"vietnam|tiếng việt",
    "zh": r"chines|mandarin|cantonese|中[文国國]|汉语|漢語|普通话|китайск|chinois|chino|cinese|중국",
}
# Asks for other languages without naming one.
_TRANSLATION = re.compile(
    r"translat|übersetz|tradu[cizts]|tradui|vertaal|vertal|översätt|oversett|oversæt|tłumacz|přelož|çevir|перев[оe]д|перевед"
    r"|переклад|翻译|翻譯|翻訳|번역|ترجم|अनुवाद|μετάφρ|μεταφρ|תרגמ|fordít|käännä|terjemah|dịch|multilingual|bilingual"
    r"|mehrsprachig|zweisprachig|languages|sprachen|langues|idiomas|lenguas|lingue|языка[хм]|种语言"
)
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_URL = re.compile(r"https?://\S+")
_CODE = re.compile(r"[{}<>=_|\\#]|\w\(|[;)]:?$|^(?:import|from|def|class|return|print)\b")
_SQL = {"SELECT", "FROM", "WHERE", "JOIN", "INSERT", "UPDATE"}


def language_of(text: str) -> str | None:
    """The language of a text's prose; None where the text is short, no language or not clearly one of the known."""
    sample = _sample(text)
    if len(sample) < MIN_BYTES:
        return None
    found = next((code for code, share in _shares(sample).items() if share >= CONFIDENT), None)
    return found if found in _NAMES else None


def may_hold(text: str, language: str, min_bytes: int = 1) -> bool:
    """Whether a text of at least so many bytes of prose might be in a language."""
    sample = _sample(text)
    return len(sample) >= min_bytes and _shares(sample).get(language, 0.0) >= PLAUSIBLE


def asks_for(text: str, language: str) -> bool:
    """Whether a text names a language or speaks of translation."""
    folded = text.casefold()
    return bool(_TRANSLATION.search(folded) or re.search(_NAMES[language], folded))


def _sample(text: str) -> bytes:
    """Prose from the beginning and from the middle: a mixed text then looks like one."""
    if "```" in text:
        text = _FENCED.sub("\n", text)
    if "://" in text:
        text = _URL.sub(" ", text)
    if len(text) > 4 * MAX_LETTERS:
        middle = len(text) // 2
        text = f"{text[:MAX_LETTERS]}\n{text[middle : middle + MAX_LETTERS]}"
    lines = [line.strip() for line in text.splitlines()]
    words = " ".join(line for line in lines if not _CODE.search(line) and _SQL.isdisjoint(line.split())).split()
    prose = " ".join(words)
    if len(prose) > MAX_LETTERS:
        half, middle = MAX_LETTERS // 2, len(prose) // 2
        prose = f"{prose[:half]} {prose[middle : middle + half]}"
    return prose.encode("utf-8", "ignore")


@lru_cache(maxsize=4096)  # a parent is looked at for each of its variants
def _shares(sample: bytes) -> dict[str, float]:
    """The probability of each language that is plausible, families as one."""
    best, share = _identifier().classify(sample)
    if share >= CONFIDENT:  # mostly; the whole ranking takes twice the time
        return {_FAMILIES.get(best, best): share}
    shares: dict[str, float] = {}
    for code, share in _identifier().rank(sample):
        if share < 0.01:
            break
        family = _FAMILIES.get(code, code)
        shares[family] = shares.get(family, 0.0) + share
    return shares


@cache
def _identifier() -> LanguageIdentifier:
    # Not at import: half a second, and most runs never come here.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
