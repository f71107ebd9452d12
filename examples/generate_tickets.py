"""
Writes `tickets.jsonl`: two weeks of a made-up help desk, one event on each line.

    python examples/generate_tickets.py

It writes the same bytes each time, on every machine.
"""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SEED = 20260301
COUNT = 1250
TARGET = Path(__file__).with_name("tickets.jsonl")

PARTNER = "aws.partner/deskline.example"
BEGIN = datetime.datetime(2026, 3, 1, 6, 0, tzinfo=datetime.UTC)


class Customer(NamedTuple):
    """A company with a help desk, and the words that its people use."""

    key: str
    name: str
    share: int
    requesters: tuple[str, ...]
    agents: tuple[str, ...]
    subjects: tuple[str, ...]
    sentences: tuple[str, ...]


CUSTOMERS = (
    Customer(
        "northwind-bikes",
        "Northwind Bikes",
        6,
        ("Maya Lindqvist", "Tom O'Leary", "Priscilla Grant", "Jens Aage Holm"),
        ("Ada Reyes", "Sam Whitlock"),
        (
            "Brake lever loose after first ride",
            "Where is my order?",
            "Invoice shows the wrong VAT number",
            "Battery does not charge beyond 60 %",
        ),
        (
            "Hello, I bought the bike three weeks ago and have ridden it twice.",
            "The tracking page has said “in transit” since last Tuesday.",
            "Could you please send a new invoice to our accounting team?",
            "Photos are attached; the serial number is on the second one.",
            "Thanks for your patience! We have ordered the part and will be in touch.",
            "It works again. You can close this ticket 🎉",
        ),
    ),
    Customer(
        "sakura-denki",
        "さくら電機株式会社",
        5,
        ("佐藤 花子", "鈴木 一郎", "高橋 美咲", "渡辺 健"),
        ("田中 直樹", "伊藤 さくら"),
        (
            "電源が入りません",
            "領収書の再発行をお願いします",
            "保証期間について教えてください",
            "リモコンが反応しない",
        ),
        (
            "お世話になっております。先週購入した製品について質問があります。",
            "電源ボタンを押しても反応がなく、ランプも点灯しません。",
            "お手数ですが、領収書を再発行していただけますでしょうか。",
            "ご連絡ありがとうございます。担当部署に確認のうえ、折り返しご連絡いたします。",
            "おかげさまで解決しました。ありがとうございました🙇",
        ),
    ),
    Customer(
        "dar-alkutub",
        "دار الكتب الحديثة",
        4,
        ("ليلى حداد", "يوسف المنصوري", "نور الدين بن علي"),
        ("سارة الخطيب", "عمر فاروق"),
        (
            "لم يصل الطلب حتى الآن",
            "خطأ عند الدفع بالبطاقة",
            "أريد تغيير عنوان التوصيل",
        ),
        (
            "السلام عليكم، طلبت ثلاثة كتب قبل عشرة أيام ولم تصل بعد.",
            "تظهر رسالة خطأ عند إدخال رقم البطاقة، وقد جربت متصفحًا آخر.",
            "نعتذر عن التأخير، وسوف نرسل لكم رقم التتبع اليوم.",
            "شكرًا جزيلًا على سرعة الرد 🌷",
        ),
    ),
    Customer(
        "chai-junction",
        "चाय जंक्शन",
        4,
        ("अनन्या शर्मा", "राहुल वर्मा", "प्रिया नायर"),
        ("विक्रम सिंह", "मीरा जोशी"),
        (
            "पैकेट खुला हुआ मिला",
            "रिफ़ंड कब मिलेगा?",
            "सदस्यता रद्द करनी है",
        ),
        (
            "नमस्ते, मुझे जो पैकेट मिला वह पहले से खुला हुआ था।",
            "कृपया बताएं कि पैसे वापस आने में कितने दिन लगेंगे।",
            "असुविधा के लिए खेद है। हम नया पैकेट आज ही भेज रहे हैं।",
            "धन्यवाद, समस्या हल हो गई 🙏",
        ),
    ),
    Customer(
        "kaffeekontor-nord",
        "Kaffeekontor Nord GmbH",
        3,
        ("Jürgen Weiß", "Änne Groß", "Øystein Bakke"),
        ("Käthe Brömmel",),
        ("Mahlgrad falsch geliefert", "Rechnung für März fehlt", "Abo pausieren über Ostern"),
        (
            "Guten Tag, geliefert wurde leider „fein“ statt „grob“.",
            "Wir sind vom 2. bis 17. April verreist; bitte keine Lieferung schicken.",
            "Vielen Dank für die Nachricht, wir kümmern uns heute noch darum.",
            "Das ging schnell, herzlichen Dank!",
        ),
    ),
    Customer(
        "pivovar-sokol",
        "Пивоварня «Сокіл»",
        2,
        ("Олена Коваль", "Тарас Шевчук"),
        ("Ірина Бондар",),
        ("Пошкоджена упаковка", "Потрібен акт звірки"),
        (
            "Добрий день! Частина пляшок розбилася під час перевезення.",
            "Надішліть, будь ласка, акт звірки за лютий.",
            "Дякуємо, заміну відправлено сьогодні.",
        ),
    ),
    Customer(
        "aurora-observatory",
        "Aurora Observatory ✨🔭",
        1,
        ("Zoë Nakamura-Ortiz", "Siân Prys-Jones"),
        ("bot-7 🤖",),
        ("🚨 Dome 2 did not close", "Export of 40,000 exposures stalls at 97 %"),
        (
            "Full log below. The mount stops at alt=31.2°, az=118.7° each time.",
            "WARN dome-2 encoder jumped 14 ticks; retrying in 00:00:05",
            "ERROR dome-2 shutter current 3.71 A over limit 3.50 A (λ/4 wind gust 🌬️)",
            "INFO park position reached, shutter closed ✅",
        ),
    ),
)

TAGS = ("billing", "delivery", "hardware", "vip", "warranty", "返品", "شكوى", "शिकायत", "⚡urgent")
CHANNELS = ("email", "web", "chat", "phone", "api")
PRIORITIES = ("low", "normal", "normal", "normal", "high", "urgent")


class Desk:
    """All help desks together, which draw what happens next."""

    def __init__(self) -> None:
        self._dice = random.Random(SEED)
        self._now = BEGIN
        self._weighted = [customer for customer in CUSTOMERS for _ in range(customer.share)]
        self._next_ticket = {customer.key: 1000 for customer in CUSTOMERS}

    def entry(self) -> dict[str, Any]:
        """Return the next event, as an entry of PutPartnerEvents."""
        dice = self._dice
        self._now += datetime.timedelta(seconds=dice.randrange(1, 1900))
        customer = dice.choice(self._weighted)
        if dice.randrange(10) < 3:
            self._next_ticket[customer.key] += 1
            kind, make = "ticket.created", self._created
        else:
            kind, make = dice.choice(
                (
                    ("ticket.updated", self._updated),
                    ("ticket.updated", self._updated),
                    ("ticket.comment.added", self._commented),
                    ("ticket.comment.added", self._commented),
                    ("ticket.solved", self._solved),
                    ("satisfaction.rated", self._rated),
                    ("ticket.archived", self._archived),
                )
            )
        number = self._next_ticket[customer.key]
        if kind != "ticket.created":
            number = dice.randrange(max(1000, number - 30), number + 1)
        detail = {"ticket": {"id": number, "account": customer.key}} | make(customer)
        entry: dict[str, Any] = {
            "Source": f"{PARTNER}/{customer.key}/support",
            "DetailType": kind,
            "Detail": detail,
        }
        if customer.key in ("kaffeekontor-nord", "dar-alkutub"):
            # Some systems write the detail as JSON text, the form that the AWS CLI takes.
            entry["Detail"] = json.dumps(detail, ensure_ascii=False)
        if dice.randrange(3):
            entry["Time"] = self._now.isoformat().replace("+00:00", "Z")
        if dice.randrange(2):
            entry["Resources"] = [f"arn:aws:deskline:::{customer.key}/ticket/{number}"]
            if not dice.randrange(6):
                entry["Resources"].append(f"https://{customer.key}.deskline.example/t/{number}")
        return entry

    def _created(self, customer: Customer) -> dict[str, Any]:
        dice = self._dice
        return {
            "subject": dice.choice(customer.subjects),
            "description": self._text(customer, 1, 5),
            "priority": dice.choice(PRIORITIES),
            "channel": dice.choice(CHANNELS),
            "company": customer.name,
            "requester": self._person(dice.choice(customer.requesters), customer),
            "tags": self._tags(),
            "custom_fields": self._custom_fields(),
            "is_public": bool(dice.randrange(2)),
        }

    def _updated(self, customer: Customer) -> dict[str, Any]:
        dice = self._dice
        before, after = dice.choice(
            (("new", "open"), ("open", "pending"), ("pending", "open"), ("open", "on-hold"))
        )
        changes: dict[str, Any] = {"status": {"before": before, "after": after}}
        if not dice.randrange(3):
            changes["priority"] = {"before": "normal", "after": dice.choice(PRIORITIES)}
        if not dice.randrange(4):
            changes["assignee"] = {
                "before": None,
                "after": self._person(dice.choice(customer.agents), customer),
            }
        return {"changes": changes}

    def _commented(self, customer: Customer) -> dict[str, Any]:
        return {"comment": self._comment(customer, 1, 4)}

    def _solved(self, customer: Customer) -> dict[str, Any]:
        dice = self._dice
        return {
            "solved_by": self._person(dice.choice(customer.agents), customer),
            "metrics": {
                "reopens": dice.randrange(3),
                "first_reply_minutes": dice.randrange(1, 2880),
                "hours_to_solve": dice.randrange(10, 4000) / 10,
            },
        }

    def _rated(self, customer: Customer) -> dict[str, Any]:
        dice = self._dice
        rating = dice.randrange(1, 6)
        return {"rating": {"score": rating, "of": 5, "comment": "⭐" * rating}}

    def _archived(self, customer: Customer) -> dict[str, Any]:
        """Return a whole conversation: most are short, some take 20 KB."""
        dice = self._dice
        length = dice.choice((2, 3, 4, 6, 8, 12, 45))
        return {
            "subject": dice.choice(customer.subjects),
            "conversation": [self._comment(customer, 1, 5) for _ in range(length)],
            "tags": self._tags(),
            "custom_fields": self._custom_fields(),
        }

    def _comment(self, customer: Customer, least: int, most: int) -> dict[str, Any]:
        dice = self._dice
        comment: dict[str, Any] = {
            "author": self._person(dice.choice(customer.requesters + customer.agents), customer),
            "text": self._text(customer, least, most),
        }
        if not dice.randrange(5):
            comment["attachments"] = [
                {
                    "name": f"IMG_{dice.randrange(1000, 9999)}.jpeg",
                    "bytes": dice.randrange(20_000, 4_000_000),
                    "sha256": f"{dice.getrandbits(256):064x}",
                }
            ]
        return comment

    def _text(self, customer: Customer, least: int, most: int) -> str:
        count = self._dice.randrange(least, most + 1)
        separator = self._dice.choice((" ", "\n", "\n\n"))
        return separator.join(self._dice.choice(customer.sentences) for _ in range(count))

    def _person(self, name: str, customer: Customer) -> dict[str, Any]:
        number = sum(name.encode()) % 9000 + 1000
        return {"id": number, "name": name, "email": f"user{number}@{customer.key}.example"}

    def _tags(self) -> list[str]:
        return [tag for tag in TAGS if not self._dice.randrange(5)]

    def _custom_fields(self) -> dict[str, Any]:
        dice = self._dice
        return {
            "order": {
                "number": f"{dice.randrange(10**6):06}-{dice.randrange(100):02}",
                "lines": [
                    {
                        "sku": f"SKU-{dice.randrange(100_000):05}",
                        "quantity": dice.randrange(1, 5),
                        "price": {"amount": dice.randrange(199, 99_999) / 100, "currency": "EUR"},
                    }
                    for _ in range(dice.randrange(0, 3))
                ],
            },
            "warranty_until": None,
        }


def lines() -> Iterator[str]:
    """Yield the lines of the file."""
    desk = Desk()
    for _ in range(COUNT):
        yield json.dumps(desk.entry(), ensure_ascii=False, separators=(",", ":")) + "\n"


def content() -> bytes:
    """Return the whole file."""
    return "".join(lines()).encode()


if __name__ == "__main__":
    TARGET.write_bytes(content())
    print(f"{TARGET.name}: {COUNT:,} events")
