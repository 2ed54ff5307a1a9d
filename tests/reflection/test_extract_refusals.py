import pytest

from reflection.extract import extract_instruction, extract_response

REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I'm sorry, I can't assist with that request.",
    "I am sorry, but I cannot provide medical advice.",
    "I'm very sorry, but I am unable to help you here.",
    "Sorry, I can't help with that.",
    "Sorry, but I cannot continue.",
    "I'm so sorry. I can't help with this.",
    "I cannot fulfill this request.",
    "I can not comply with this request.",
    "I cannot provide a better answer.",
    "I can't do that.",
    "I can't help.",
    "I won't provide instructions for this.",
    "I won't be able to help with that.",
    "I'm unable to generate images.",
    "I am not able to answer this question.",
    "Unfortunately, I cannot create a new answer.",
    "I apologize, but I cannot complete this task.",
    "I apologise, but I'm not able to provide it.",
    "As an AI language model, I don't have personal opinions.",
    "As an AI, I cannot feel.",
    "As an AI assistant I have no body.",
    "I'm sorry, but as an AI language model, I cannot feel.",
    '"I cannot fulfill this request."',
    "**I'm sorry, but I can't assist with that.**",
    "AS AN AI LANGUAGE MODEL, I HAVE NO OPINIONS.",
]
LEGITIMATE = [
    "I'm sorry to hear that your cat has died. Here is how you could tell the children.",
    "I am sorry to hear about the delay. Please send us the order number.",
    "I'm sorry for your loss.",
    "I'm so sorry I missed your birthday!",
    "Sorry for the late reply: the figures are attached.",
    "Dear Ms Lee,\n\nI am sorry, and I cannot help but admit it: the parcel was lost through our fault.",
    "Subject: Apology\n\nI apologize for the mistake in your invoice.",
    "I apologize for the mistake in your invoice; a corrected one is attached.",
    "I am writing to apologise for my late report.",
    "Unfortunately, the meeting has to be moved.",
    "I can help you with that: start by sorting the list.",
    "I can provide three examples.",
    "I can assist customers in two languages.",
    "I cannot stress enough how useful sleep is.",
    "I can't help but notice how quiet the house has become.",
    "I can't help thinking of the sea.",
    "I won't go, said the mouse.",
    "I am unable to attend on Friday; could we meet on Monday?",
    "As an AI researcher, you will know the benchmark.",
    "As an AI ethics consultant, write a memo on facial recognition in shops.",
    "As an aid to memory, draw a table.",
    "A model answers: I'm sorry, but I can't assist with that. Explain why.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_not_adopted(text):
    assert extract_response(f"1. Short.\n2. [Better Answer] {text} [End]").status == "refusal"
    assert extract_response(f"Short.\n[Better Answer]\n{text}").status == "refusal"
    assert extract_instruction(f"[New Instruction] Do it. [End] [New Answer] {text} [End]").status == "refusal"
    assert extract_instruction(text).status == "refusal"
    assert extract_response(text).status == "refusal"


@pytest.mark.parametrize("text", LEGITIMATE)
def test_a_legitimate_text_that_looks_like_a_refusal_is_adopted(text):
    found = extract_response(f"1. Short.\n2. [Better Answer] {text} [End]")
    assert (found.status, found.output) == ("ok", text)
    found = extract_instruction(f"[New Instruction] {text} [End] [New Answer] {text} [End]")
    assert (found.status, found.instruction, found.output) == ("ok", text, text)
