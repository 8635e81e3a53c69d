"""The words of the marketplace: categories with their nouns and materials, styles with their adjectives, brands."""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """What a category sells, and about what it costs."""

    path: str
    nouns: tuple[str, ...]
    materials: tuple[str, ...]
    usual_price: float
    consumable: bool = False


CATEGORIES = (
    Category("home/kitchen", ("pan", "kettle", "bowl", "chopping board", "teapot", "mug"),
              ("steel", "ceramic", "oak"), 24),
    Category("home/lighting", ("table lamp", "lantern", "floor lamp", "wall light"), ("brass", "linen", "glass"), 55),
    Category("home/bedding", ("duvet cover", "pillow", "blanket", "quilt"), ("cotton", "wool", "linen"), 48),
    Category("garden/tools", ("spade", "pruner", "hand rake", "watering can"), ("steel", "ash", "copper"), 27),
    Category("garden/plants", ("olive tree", "fern", "lavender", "orchid"), ("potted", "hanging", "young"), 18),
    Category("garden/furniture", ("bench", "deck chair", "bistro table", "hammock"), ("teak", "rattan", "iron"), 130),
    Category("fashion/shirts", ("shirt", "blouse", "polo", "tee"), ("cotton", "linen", "silk"), 36),
    Category("fashion/shoes", ("sneaker", "boot", "loafer", "sandal"), ("leather", "suede", "canvas"), 78),
    Category("fashion/bags", ("tote", "backpack", "satchel", "wallet"), ("leather", "canvas", "nylon"), 62),
    Category("beauty/skin", ("day cream", "serum", "cleanser", "face mask"), ("aloe", "rose", "clay"), 19, True),
    Category("beauty/hair", ("shampoo", "conditioner", "hair oil", "balm"), ("argan", "coconut", "mint"), 12, True),
    Category("beauty/scent", ("perfume", "candle", "room spray", "soap"), ("cedar", "vanilla", "citrus"), 34),
    Category("food/coffee", ("espresso beans", "filter coffee", "capsules", "cold brew"),
              ("arabica", "robusta", "decaf"), 11, True),
    Category("food/tea", ("green tea", "black tea", "herbal tea", "matcha"), ("organic", "smoked", "loose"), 9, True),
    Category("food/sweets", ("chocolate", "biscuits", "nougat", "caramels"), ("hazelnut", "almond", "honey"), 8, True),
    Category("sport/running", ("running shoe", "race vest", "shorts", "cap"), ("mesh", "merino", "nylon"), 58),
    Category("sport/yoga", ("yoga mat", "block", "bolster", "strap"), ("cork", "rubber", "cotton"), 29),
    Category("sport/cycling", ("helmet", "bike light", "saddle", "jersey"), ("carbon", "alloy", "merino"), 66),
    Category("tech/audio", ("headphones", "speaker", "turntable", "microphone"),
              ("wireless", "walnut", "aluminium"), 110),
    Category("tech/office", ("keyboard", "monitor arm", "desk lamp", "webcam"),
              ("mechanical", "aluminium", "bamboo"), 72),
    Category("tech/cables", ("charger", "cable", "power bank", "hub"), ("braided", "magnetic", "compact"), 21),
    Category("kids/toys", ("puzzle", "building set", "doll", "train"), ("wooden", "felt", "magnetic"), 26),
    Category("kids/books", ("picture book", "atlas", "story book", "colouring book"),
              ("illustrated", "bilingual", "pop-up"), 13),
    Category("kids/clothes", ("romper", "raincoat", "pyjamas", "mittens"), ("cotton", "fleece", "wool"), 23),
)  # fmt: skip

DEPARTMENTS = tuple(dict.fromkeys(category.path.split("/")[0] for category in CATEGORIES))

STYLE_ADJECTIVES = (
    ("modern", "minimal", "sleek"),
    ("rustic", "farmhouse", "weathered"),
    ("vintage", "retro", "antique"),
    ("classic", "timeless", "traditional"),
    ("bold", "colourful", "neon"),
    ("natural", "earthy", "raw"),
    ("elegant", "refined", "graceful"),
    ("sporty", "active", "rugged"),
)
"""A style's adjectives stand in the titles of its brands' items: taste can be read off the words."""

BRANDS_BY_STYLE = (
    ("Nordhaus", "Linea", "Formwerk"),
    ("Hearthstone", "Barnaby", "Oldfield"),
    ("Marlowe", "Bakelite & Sons", "Gramercy"),
    ("Ashford", "Kingsley", "Whitmore"),
    ("Zazu", "Popping", "Kolibri"),
    ("Terra Viva", "Mosswood", "Halm"),
    ("Belmonde", "Aurelie", "Contessa"),
    ("Rapido", "Summit Nine", "Trailhead"),
)

COUNTRIES = ("DE", "FR", "GB", "ES", "IT", "NL", "PL", "US")
COUNTRY_WEIGHTS = (22, 16, 18, 10, 10, 7, 7, 10)
LANGUAGES = ("de", "fr", "en", "es", "it", "nl", "pl", "en")
"""The first language of each country."""

AGE_BANDS = ("18-24", "25-34", "35-44", "45-59", "60+")
AGE_WEIGHTS = (14, 28, 24, 22, 12)

DEVICES = ("phone", "desktop", "tablet")
DEVICE_WEIGHTS = (62, 30, 8)
