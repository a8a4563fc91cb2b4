//! The words that mean something to the goal model, sorted.
//!
//! They are the words of the phrasing grammar, but for those that the robot need not know; a test
//! beside that grammar compares the two. Weights store a hash of this table: a changed table wants
//! a newly trained model.

/// Lower-case words in ascending order of their bytes.
#[rustfmt::skip]
pub(crate) const WORDS: &[&str] = &[
    "a", "about", "acquire", "again", "ahead", "air", "amber", "an", "and", "anything", "are", "arm", "as",
    "at", "away", "azure", "basin", "be", "behind", "beside", "big", "black", "block", "blue", "bowl",
    "box", "brick", "bright", "bring", "building", "but", "by", "can", "capture", "carefully", "catch",
    "cereal", "choose", "clasp", "close", "clutch", "cobalt", "coffee", "collect", "collecting", "color",
    "colored", "colour", "coloured", "could", "crimson", "cube", "cup", "dark", "desk", "dice", "dish",
    "do", "dont", "down", "ebony", "either", "elevate", "emerald", "empty", "everything", "fetch",
    "fetching", "find", "first", "for", "friend", "from", "front", "gather", "gently", "get", "getting",
    "gimme", "give", "go", "golden", "grab", "grabbed", "grabbing", "grasp", "grasping", "green", "grip",
    "gripper", "hand", "happy", "has", "have", "heft", "hello", "hey", "hi", "hoist", "hold", "holding",
    "how", "i", "id", "if", "immediately", "in", "instead", "into", "is", "it", "item", "ivory", "jet",
    "job", "just", "keep", "kind", "kindly", "large", "left", "lemon", "let", "lets", "lift", "lifted",
    "lifting", "light", "like", "lilac", "lime", "little", "look", "looks", "love", "many", "may", "me",
    "mind", "mug", "must", "my", "nab", "navy", "near", "need", "never", "new", "next", "nice", "not",
    "now", "object", "obtain", "of", "off", "ok", "okay", "old", "on", "once", "one", "only", "onto", "or",
    "orange", "over", "painted", "pass", "pick", "picked", "picking", "plain", "please", "pluck",
    "possible", "pull", "purple", "quickly", "raise", "raised", "raising", "rather", "reach", "red",
    "retrieve", "right", "robot", "ruby", "scarlet", "scoop", "secure", "see", "seize", "select", "shiny",
    "should", "slowly", "small", "snag", "snatch", "snowy", "so", "something", "soon", "soup", "standing",
    "start", "table", "take", "taken", "taking", "tangerine", "tankard", "task", "tea", "teacup", "than",
    "thank", "thanks", "that", "thats", "the", "them", "then", "there", "thing", "think", "this", "time",
    "to", "toy", "try", "uh", "um", "under", "up", "using", "violet", "want", "we", "well", "what", "when",
    "where", "which", "white", "who", "whose", "why", "will", "with", "would", "yellow", "you", "your",
];
