"""The people, places, firms, files and things that the generated conversations talk about."""

from __future__ import annotations

from random import Random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    """Ada Ahmed Aiko Alan Alma Amara Amir Ana Anders Anya Arjun Astrid Ben Bianca Bruno Carla Carlos Chidi Clara Dana
    Daniel David Diego Dina Edith Elena Eli Emma Erik Esther Farah Felix Fiona Freya George Grace Hana Hassan
    Helen Henrik Hugo Ibrahim Ines Ingrid Irene Isaac Ivan Jana Joan Jonas Julia Kaito Karim Kate Kenji Lara Leila
    Leo Lena Liam Linh Lucia Lukas Maja Malik Marco Maria Martin Maya Mei Milan Mina Nadia Naomi Nikhil Nina Noah Nora
    Olga Oliver Omar Oscar Paula Pedro Petra Priya Rachel Rafael Rania Ravi Rosa Ruth Samir Sara Sofia Stefan Tariq
    Tessa Thomas Tomas Uma Vera Victor Wanda Yara Yusuf Zoe"""
)
SURNAMES = _words(
    """Abebe Adler Andersson Baker Banerjee Bauer Becker Bianchi Brandt Campbell Castillo Chen Cohen Costa Dahl Diaz
    Dubois Eriksen Evans Ferrari Fischer Fischbach Garcia Gupta Haddad Hansen Hoffmann Ibarra Ito Jansen Johnson Kaur
    Keller Khan Kim Kowalski Kumar Larsen Lopez Martin Mendes Moreau Murphy Nakamura Nguyen Novak Okafor Olsen Ortiz
    Park Patel Pereira Petrov Quinn Reyes Rossi Sato Schmidt Silva Singh Suzuki Tanaka Torres Varga Walker Weber Wong
    Yilmaz Zhang"""
)
CITIES = _words(
    """Accra Amsterdam Ankara Athens Bergen Berlin Bogota Boston Bristol Brussels Budapest Cairo Calgary Chicago Cork
    Dakar Delhi Denver Dublin Edinburgh Geneva Genoa Ghent Glasgow Hamburg Hanoi Helsinki Istanbul Jakarta Kyoto Lagos
    Leeds Lima Lisbon London Lyon Madrid Malmo Manila Melbourne Milan Montreal Munich Nairobi Naples Osaka Oslo Ottawa
    Paris Perth Porto Prague Quito Riga Rome Rotterdam Santiago Seattle Seoul Sofia Stockholm Sydney Tallinn Tokyo
    Toronto Turin Utrecht Valencia Vienna Vilnius Warsaw Zagreb Zurich"""
)
COMPANIES = (
    "Northwind Foods",
    "Bluebird Logistics",
    "Harbor Lane Books",
    "Cedar & Sons",
    "Lumen Optics",
    "Oakfield Dairy",
    "Pinecrest Clinic",
    "Redstone Mining",
    "Silverline Rail",
    "Tidewater Shipping",
    "Verde Gardens",
    "Westgate Motors",
    "Amber Bakery",
    "Copperfield Press",
    "Delta Ceramics",
    "Evergreen Supply",
    "Falcon Couriers",
    "Granite Tools",
    "Highland Wool",
    "Ironbridge Steel",
    "Juniper Hotels",
    "Kestrel Insurance",
    "Larkspur Media",
    "Meridian Bank",
    "Nimbus Weather",
    "Orchard Street Cafe",
    "Polar Freight",
    "Quayside Fish",
    "Riverbend School",
    "Solstice Energy",
)
PRODUCTS = _words(
    """notebook lamp kettle backpack keyboard teapot blanket candle wallet bicycle helmet stapler toaster vase
    scarf mirror clock thermos cushion drill hammer tripod headset printer monitor charger speaker router desk chair
    bookshelf mug plate blender skillet bucket ladder tent compass lantern"""
)
FRUITS = _words(
    """apples pears plums cherries lemons oranges figs grapes melons peaches mangoes kiwis bananas apricots limes dates
    quinces papayas"""
)
HOSTS = _words("atlas borealis cobalt delphi ember fjord gamma hydra iris juno kepler lyra")
ROOTS = _words(
    """/var/log /srv/data /opt/app /home/ana /home/samir /mnt/backup projects archive reports exports uploads datasets
    website photos scripts config invoices staging build notes"""
)
FOLDERS = _words(
    """2019 2020 2021 2022 2023 2024 january march june october nginx billing customers drafts images inventory legacy
    mail metrics orders payroll raw releases sensors sessions shipping staff support survey tests web weekly
    accounts audits branches clients contracts courses events labels maps patients payments plans quotes"""
)
STEMS = _words(
    """access agenda audit balance booking budget catalog clients complaints contacts delivery emails errors events
    expenses forecast guests history import index inventory invoices journal ledger leads members messages minutes
    notes orders payments prices products queue ratings receipts refunds requests returns salaries sales schedule
    sensors sessions signups staff stock summary survey tasks tickets timesheet traffic transfers users vendors visits
    votes warehouse"""
)
TEXT_EXTENSIONS = ("log", "txt", "csv", "md", "json", "tsv", "conf", "yaml")
FILE_EXTENSIONS = (*TEXT_EXTENSIONS, "py", "html", "pdf", "jpg", "png", "xml", "bak", "tmp", "sql", "zip")
SEARCH_WORDS = _words(
    """timeout warning refused overdue deprecated password retry invoice cancelled urgent missing duplicate expired
    forbidden shutdown restart overflow rejected pending unknown corrupted disconnected latency checksum"""
)
COMMON_WORDS = _words(
    """anchor autumn banana bridge butter cactus candle carpet castle coffee copper cotton dragon engine falcon feather
    forest fountain garden ginger hammer harbor honey island jacket jungle kitchen ladder lantern lemon library marble
    meadow mirror mountain museum needle ocean orange orchard paper parrot pepper picture pillow planet pocket puzzle
    rabbit ribbon river rocket saddle salmon school season shadow silver spider spring station summer sunset temple
    thunder ticket timber tomato travel tunnel turtle valley velvet village violin walnut window winter yellow"""
)
ADJECTIVES = _words(
    """ancient brave bright calm clever cold curious dusty eager early empty faint gentle golden happy hidden humble
    lazy lonely loud narrow noisy old pale proud quick quiet rapid red rusty secret sharp silent simple small soft
    steep tall tiny warm wild wise young"""
)
SUBJECTS = ("chemistry", "geography", "history", "music", "physics", "Spanish", "biology", "drawing", "algebra")


def full_name(rng: Random) -> str:
    """A first name and a surname."""
    return f"{rng.choice(FIRST_NAMES)} {rng.choice(SURNAMES)}"


def folder_path(rng: Random) -> str:
    """A folder such as /var/log/nginx or reports/2023/orders."""
    parts = [rng.choice(ROOTS), *rng.sample(FOLDERS, rng.choice((1, 1, 2)))]
    return "/".join(parts)


def file_name(rng: Random, extensions: tuple[str, ...] = TEXT_EXTENSIONS) -> str:
    """A file name such as refunds.csv, sometimes with a year or a number."""
    suffix = rng.choice(("", "", "", f"_{rng.randrange(2015, 2026)}", f"-{rng.randrange(1, 32):02d}"))
    return f"{rng.choice(STEMS)}{suffix}.{rng.choice(extensions)}"


def file_path(rng: Random, extensions: tuple[str, ...] = TEXT_EXTENSIONS) -> str:
    """A file in a folder, such as exports/billing/refunds_2021.csv."""
    return f"{folder_path(rng)}/{file_name(rng, extensions)}"
