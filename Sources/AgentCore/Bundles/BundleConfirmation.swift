/// How far the server has been told about the own bundle.
struct BundleConfirmation: Sendable {
    /// What it asked for last; 0 when nothing.
    private(set) var asked: UInt64 = 0
    /// It has heard that the bundle was applied.
    private(set) var isHeard = false
    /// It has heard that everything was replaced.
    private(set) var isFinal = false

    /// Whether there may be something to say.
    var isOpen: Bool { self.asked != 0 && !self.isFinal }

    mutating func ask(_ number: UInt64) {
        self.asked = number
        self.isHeard = false
        self.isFinal = false
    }

    /// What to tell, if it is new.
    mutating func take(isReplaced: Bool) -> (number: UInt64, isReplaced: Bool)? {
        guard self.isOpen, !self.isHeard || isReplaced else { return nil }
        self.isHeard = true
        self.isFinal = isReplaced
        return (self.asked, isReplaced)
    }
}
