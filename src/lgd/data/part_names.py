"""Names of the parts of a set: train, test and validation, in the spellings and languages that people write them in."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

Role = Literal["train", "test", "validation"]

WORDS: dict[Role, str] = {
    "train": """
        train training trainings trn tr learn learning
        lern lernen lerndaten entrainement apprentissage entrenamiento entreno treino treinamento treinar
        addestramento allenamento oefen trening treningowy treningowe uczacy uczace egitim latihan huanluyen
        обучение обучающая обучающий обучающие тренировка тренировочная тренировочный тренировочные навчання
        训练 訓練 学习 學習 学習 トレーニング 훈련 학습 تدريب التدريب אימון""",
    "test": """
        test tests testing tst ts te eval evaluation holdout heldout unseen
        pruefung pruefungs pruef prufung prufungs evaluierung essai prueba pruebas evaluacion teste testes avaliacao
        prova collaudo valutazione
        testowy testowe sinama deneme uji kiemtra тест тестовая тестовый тестовые тестирование тестування контроль
        测试 測試 テスト 試験 評価 评估 評估 테스트 시험 평가 اختبار الاختبار מבחן""",
    "validation": """
        val valid validation validate validating va dev devel development
        validierung validierungs validacion validacao validazione validatie walidacja walidacyjny walidacyjne dogrulama
        validasi валидация валидационная валидационный валидационные валідація
        验证 驗證 検証 검증 تحقق التحقق""",
}
FILLERS = """
    set sets data dataset datasets dir folder folders part parts split splits subset samples sample
    image images imgs img pics pictures photo photos of digits
    daten datensatz bilder menge donnees datos dados dati dane zbior imagenes imagens immagini данные выборка
    набор изображения 集 数据 數據 数据集 數據集 图片 圖片 图像 用 データ 画像 セット 데이터 세트 이미지"""
"""words that stand beside those above and change nothing"""

SHORT = 3  # ASCII letters of the shortest word that is looked for among others


def words_of(name: str) -> list[str]:
    """Split a name into words of lower-case letters without accents; digits and signs only divide them."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    letters = (char for char in unicodedata.normalize("NFKD", spaced) if not unicodedata.category(char).startswith("M"))
    return re.findall(r"[^\W\d_]+", "".join(letters).casefold())


ROLES: dict[str, Role] = {word: role for role, text in WORDS.items() for word in words_of(text)}
FILLING = frozenset(words_of(FILLERS))


def part_of(name: str) -> Role | None:
    """The part that a folder or split is by its name, such as `Train`, `val2017`, `test_images` or `trainset`."""
    kept = [word for word in words_of(name) if word not in FILLING and not (len(word) == 1 and word.isascii())]
    return ROLES.get(without_fillers("".join(kept)))


def parts_of(names: Iterable[str]) -> dict[str, Role | None]:
    """Return the part that each of the folders beside one another is, also with words that all share: seg_train."""
    names = list(names)
    shared = set.intersection(*(set(words_of(name)) for name in names)) if len(names) > 1 else set()
    return {
        name: part_of(" ".join(word for word in words_of(name) if word not in shared)) or part_of(name)
        for name in names
    }


def part_among(name: str) -> Role | None:
    """The part that a file is by the one word in its name that says so, such as `mnist-train-00000-of-00001`."""
    found = {ROLES.get(without_fillers(word)) for word in words_of(name) if len(word) >= SHORT or not word.isascii()}
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def without_fillers(word: str) -> str:
    """Cut off fillers that are written together with a part's name, as in trainset or 训练集."""
    for filler in FILLING:
        for rest in (word.removesuffix(filler), word.removeprefix(filler)):
            if word not in ROLES and rest in ROLES:
                return rest
    return word


def first_choice(names: Iterable[str]) -> list[str]:
    """Sort the names of parts that may be the test part, the most usual one first."""
    usual = ["test", "val", "validation", "valid"]
    return sorted(
        names,
        key=lambda name: (
            part_of(name) != "test",
            usual.index(name.casefold()) if name.casefold() in usual else len(usual),
            name,
        ),
    )


def title_of(source: str) -> str:
    """Return the name of `digits` or of a set on the Hub, else that of the folder or file.

    A name that only says which part it is, such as train.parquet or train-00000-of-00001.parquet, gives way to its
    folder's. Where nothing is left, the source.
    """
    kind, colon, rest = source.partition(":")
    if not colon or kind == "hf":
        return rest or source
    path = Path(rest.split(",")[0])
    name = path.name.removesuffix(".parquet")
    part = part_of(name) or (kind == "parquet" and part_among(name))
    return (path.parent.name if part else name) or source
