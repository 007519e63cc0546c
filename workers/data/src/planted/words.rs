//! Words for the things of planted worlds: titles that a person can read and that tell the bucket.
//!
//! In: numbers of buckets, ranks and users. Out: words. None has a blank in it, for blanks part attribute values.

const TOPS: [&str; 16] = [
    "outdoor", "kitchen", "studio", "garden", "office", "travel", "sports", "music", "library", "workshop", "nursery",
    "fashion", "cinema", "pantry", "gaming", "wellness",
];

const MIDDLES: [&str; 48] = [
    "Trail", "Harbor", "Summit", "Meadow", "River", "Canyon", "Forest", "Island", "Prairie", "Glacier", "Coast",
    "Valley", "Copper", "Velvet", "Marble", "Cedar", "Linen", "Granite", "Bamboo", "Ivory", "Walnut", "Cotton",
    "Bronze", "Crystal", "Midnight", "Morning", "Autumn", "Winter", "Spring", "Summer", "Twilight", "Noon", "Northern",
    "Southern", "Eastern", "Western", "Alpine", "Desert", "Tropic", "Arctic", "Urban", "Village", "Castle", "Market",
    "Festival", "Carnival", "Lagoon", "Orchard",
];

const THINGS: [&str; 48] = [
    "Lantern",
    "Kettle",
    "Easel",
    "Trowel",
    "Notebook",
    "Backpack",
    "Racket",
    "Fiddle",
    "Atlas",
    "Chisel",
    "Mobile",
    "Scarf",
    "Projector",
    "Teapot",
    "Console",
    "Cushion",
    "Compass",
    "Skillet",
    "Palette",
    "Planter",
    "Stapler",
    "Suitcase",
    "Helmet",
    "Drum",
    "Novel",
    "Hammer",
    "Rattle",
    "Jacket",
    "Poster",
    "Spice",
    "Puzzle",
    "Candle",
    "Tent",
    "Whisk",
    "Canvas",
    "Hose",
    "Lamp",
    "Pillow",
    "Glove",
    "Flute",
    "Almanac",
    "Clamp",
    "Blanket",
    "Belt",
    "Reel",
    "Honey",
    "Joystick",
    "Balm",
];

const ADJECTIVES: [&str; 48] = [
    "Amber",
    "Silver",
    "Quiet",
    "Bold",
    "Gentle",
    "Rapid",
    "Ancient",
    "Modern",
    "Bright",
    "Hollow",
    "Golden",
    "Scarlet",
    "Azure",
    "Emerald",
    "Crimson",
    "Violet",
    "Dusky",
    "Frosty",
    "Sunny",
    "Misty",
    "Rustic",
    "Polished",
    "Woven",
    "Carved",
    "Painted",
    "Folding",
    "Compact",
    "Grand",
    "Little",
    "Hidden",
    "Wandering",
    "Steady",
    "Lucky",
    "Noble",
    "Humble",
    "Vivid",
    "Mellow",
    "Crisp",
    "Sturdy",
    "Slender",
    "Royal",
    "Plain",
    "Merry",
    "Solemn",
    "Nimble",
    "Tidy",
    "Curious",
    "Honest",
];

const BRANDS: [&str; 24] = [
    "Northwind",
    "Oakline",
    "Bluefin",
    "Sunforge",
    "Wildfern",
    "Stonebridge",
    "Larkfield",
    "Moonmill",
    "Redbarn",
    "Clearbrook",
    "Foxglove",
    "Ironleaf",
    "Seabright",
    "Goldmoor",
    "Pinecrest",
    "Riverbend",
    "Hearthside",
    "Skylark",
    "Greywolf",
    "Thornbury",
    "Applegate",
    "Brightwater",
    "Cobblestone",
    "Driftwood",
];

const REGIONS: [&str; 6] = ["north", "south", "east", "west", "centre", "islands"];

fn word<const N: usize>(words: &[&'static str; N], number: u32) -> &'static str {
    words[number as usize % N]
}

/// The three levels of a bucket's path, each with those above it: `outdoor`, `outdoor/Trail`, `outdoor/Trail/Lantern`.
pub(super) fn category(path: [u32; 3]) -> [String; 3] {
    let top = word(&TOPS, path[0]);
    let middle = word(&MIDDLES, path[1]);
    // Equal words of different buckets are kept apart by their number.
    [top.to_owned(), format!("{top}/{middle}"), format!("{top}/{middle}/{}-{}", word(&THINGS, path[2]), path[2])]
}

/// An item's title: `Amber Trail Lantern`, with a number where adjectives have run out.
pub(super) fn title(path: [u32; 3], rank: u32) -> String {
    let round = rank / ADJECTIVES.len() as u32;
    let plain = format!("{} {} {}", word(&ADJECTIVES, rank), word(&MIDDLES, path[1]), word(&THINGS, path[2]));
    if round == 0 { plain } else { format!("{plain} {}", round + 1) }
}

/// An item's text.
pub(super) fn text(path: [u32; 3], rank: u32, brand: &str) -> String {
    let lower = |word: &str| word.to_lowercase();
    format!(
        "{} {} by {brand}, made for {} and {}",
        lower(word(&ADJECTIVES, rank)),
        lower(word(&THINGS, path[2])),
        lower(word(&MIDDLES, path[1])),
        word(&TOPS, path[0]),
    )
}

/// One of the three brands of a top bucket.
pub(super) fn brand(top: u32, choice: u32) -> &'static str {
    word(&BRANDS, top * 3 + choice % 3)
}

/// The name of a segment: that of the top bucket it likes.
pub(super) fn segment(top: u32) -> &'static str {
    word(&TOPS, top)
}

/// A region.
pub(super) fn region(choice: u32) -> &'static str {
    word(&REGIONS, choice)
}
