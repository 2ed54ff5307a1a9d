"""The papers behind what a run did, as BibTeX: those of the methods that it used, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from hub_cards.provenance import StepRecord


@dataclass(frozen=True)
class Paper:
    """One paper on arXiv.

    Attributes:
        short: what a text calls its method.
    """

    key: str
    short: str
    title: str
    authors: str
    year: int
    arxiv: str

    @property
    def address(self) -> str:
        """Of its page."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    @property
    def bibtex(self) -> str:
        """Its entry."""
        return (
            f"@article{{{self.key},\n  title={{{self.title}}},\n  author={{{self.authors}}},\n"
            f"  journal={{arXiv preprint arXiv:{self.arxiv}}}, year={{{self.year}}}\n}}"
        )


REFLECTION = Paper(
    "li2023reflection",
    "Reflection-Tuning",
    "Reflection-Tuning: Data Recycling Improves LLM Instruction-Tuning",
    "Li, Ming and Chen, Lichang and Chen, Jiuhai and He, Shwai and Huang, Heng and Gu, Jiuxiang and Zhou, Tianyi",
    2023,
    "2310.11716",
)
SELECTIVE = Paper(
    "li2024selective",
    "Selective Reflection-Tuning",
    "Selective Reflection-Tuning: Student-Selected Data Recycling for LLM Instruction-Tuning",
    "Li, Ming and Chen, Lichang and Chen, Jiuhai and He, Shwai and Gu, Jiuxiang and Zhou, Tianyi",
    2024,
    "2402.10110",
)
CHERRY = Paper(
    "li2023quantity",
    "Cherry LLM",
    "From Quantity to Quality: Boosting LLM Performance with Self-Guided Data Selection for Instruction Tuning",
    "Li, Ming and Zhang, Yong and Li, Zhitao and Chen, Jiuhai and Chen, Lichang and Cheng, Ning and Wang, Jianzong and "
    "Zhou, Tianyi and Xiao, Jing",
    2023,
    "2308.12032",
)
SUPERFILTERING = Paper(
    "li2024superfiltering",
    "Superfiltering",
    "Superfiltering: Weak-to-Strong Data Filtering for Fast Instruction-Tuning",
    "Li, Ming and Zhang, Yong and He, Shwai and Li, Zhitao and Zhao, Hongyu and Wang, Jianzong and Cheng, Ning and "
    "Zhou, Tianyi",
    2024,
    "2402.00530",
)
SELECTIT = Paper(
    "liu2024selectit",
    "SelectIT",
    "SelectIT: Selective Instruction Tuning for LLMs via Uncertainty-Aware Self-Reflection",
    "Liu, Liangxin and Liu, Xuebo and Wong, Derek F. and Li, Dongfang and Wang, Ziyi and Hu, Baotian and Zhang, Min",
    2024,
    "2402.16705",
)
GRAPE = Paper(
    "zhang2025grape",
    "GRAPE",
    "The Best Instruction-Tuning Data are Those That Fit",
    "Zhang, Dylan and Dai, Qirun and Peng, Hao",
    2025,
    "2502.04194",
)
T_SHIRT = Paper(
    "fu2025tshirt",
    "T-SHIRT",
    "T-SHIRT: Token-Selective Hierarchical Data Selection for Instruction Tuning",
    "Fu, Yanjun and Hamman, Faisal and Dutta, Sanghamitra",
    2025,
    "2506.01317",
)
ITERIT = Paper(
    "jia2024iterit",
    "IterIT",
    "Boosting LLM via Learning from Data Iteratively and Selectively",
    "Jia, Qi and Ren, Siyu and Qin, Ziheng and Xue, Fuzhao and Ni, Jinjie and You, Yang",
    2024,
    "2412.17365",
)
LONGEST = Paper(
    "zhao2024long",
    "Long Is More for Alignment",
    "Long Is More for Alignment: A Simple but Tough-to-Beat Baseline for Instruction Fine-Tuning",
    "Zhao, Hao and Andriushchenko, Maksym and Croce, Francesco and Flammarion, Nicolas",
    2024,
    "2402.04833",
)
ALPAGASUS = Paper(
    "chen2023alpagasus",
    "AlpaGasus",
    "AlpaGasus: Training A Better Alpaca with Fewer Data",
    "Chen, Lichang and Li, Shiyang and Yan, Jun and Wang, Hai and Gunaratna, Kalpa and Yadav, Vikas and Tang, Zheng "
    "and Srinivasan, Vijay and Zhou, Tianyi and Huang, Heng and Jin, Hongxia",
    2023,
    "2307.08701",
)
# The scores and the strategies that are somebody's; the others need no citation.
OF_SCORES = {"ifd": CHERRY, "prompt_embedding": CHERRY, "selectit": SELECTIT}
OF_STRATEGIES = {
    "recycled": REFLECTION,
    "selective": SELECTIVE,
    "grape": GRAPE,
    "cherry": CHERRY,
    "pre_experience": CHERRY,
    "superfilter": SUPERFILTERING,
    "facility_location": SUPERFILTERING,
    "selectit": SELECTIT,
    "sifd": T_SHIRT,
    "iterit": ITERIT,
    "longest": LONGEST,
}


def papers_of(records: list[StepRecord]) -> list[Paper]:
    """The papers of the methods that the steps used, in the order of the steps, each once."""
    return list(dict.fromkeys(paper for record in records for paper in _papers_of_step(record)))


def _papers_of_step(record: StepRecord) -> list[Paper]:
    if record.step == "reflect":
        return [REFLECTION]
    if record.step == "score":
        return [OF_SCORES[kind] for kind in record.config.get("scores", []) if kind in OF_SCORES]
    if record.step == "select":
        names = (step["name"] for step in record.config["strategy"])
        return [OF_STRATEGIES[name] for name in names if name in OF_STRATEGIES]
    return [ALPAGASUS] if record.step == "evaluate" and record.counts.get("judge") else []
