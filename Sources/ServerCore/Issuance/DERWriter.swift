/// Writes DER (X.690) from the last byte to the first, so that each length is known when it is written and nothing is
/// ever moved.
///
/// For certificates of our own making only; what comes from outside is read with SwiftASN1.
struct DERWriter {
    private enum Tag {
        static let integer: UInt8 = 0x02
        static let bitString: UInt8 = 0x03
        static let octetString: UInt8 = 0x04
        static let utcTime: UInt8 = 0x17
        static let generalizedTime: UInt8 = 0x18
        static let sequence: UInt8 = 0x30
    }

    /// What was written, backwards.
    private var reversed: [UInt8] = []

    init(capacity: Int) { self.reversed.reserveCapacity(capacity) }

    /// What was written, in order.
    var bytes: [UInt8] { self.reversed.reversed() }

    /// Puts finished bytes in front.
    mutating func put(_ bytes: some BidirectionalCollection<UInt8>) {
        self.reversed.append(contentsOf: bytes.reversed())
    }

    /// Puts a value in front whose content is what `content` puts.
    mutating func wrap(_ tag: UInt8, _ content: (inout DERWriter) -> Void) {
        let mark = self.reversed.count
        content(&self)
        self.header(tag, length: self.reversed.count - mark)
    }

    /// Puts the beginning of a value in front whose content is so long and stands behind already, or elsewhere.
    private mutating func header(_ tag: UInt8, length: Int) {
        var length = length
        if length < 0x80 {
            self.reversed.append(UInt8(length))
        } else {
            var count: UInt8 = 0
            while length > 0 {
                self.reversed.append(UInt8(truncatingIfNeeded: length))
                length >>= 8
                count += 1
            }
            self.reversed.append(0x80 | count)
        }
        self.reversed.append(tag)
    }

    /// Puts the beginning of a sequence in front, of content that stands elsewhere.
    mutating func sequenceHeader(length: Int) { self.header(Tag.sequence, length: length) }

    /// A sequence of finished parts. Long ones are copied once.
    static func sequence(of parts: [[UInt8]]) -> [UInt8] {
        let length = parts.reduce(0) { $0 + $1.count }
        var writer = DERWriter(capacity: 16)
        writer.sequenceHeader(length: length)
        var bytes = writer.bytes
        bytes.reserveCapacity(bytes.count + length)
        for part in parts { bytes.append(contentsOf: part) }
        return bytes
    }

    mutating func sequence(_ content: (inout DERWriter) -> Void) {
        self.wrap(Tag.sequence, content)
    }

    mutating func octetString(_ content: (inout DERWriter) -> Void) {
        self.wrap(Tag.octetString, content)
    }

    /// Whole bytes, as signatures and keys are.
    mutating func bitString(_ bytes: some BidirectionalCollection<UInt8>) {
        self.wrap(Tag.bitString) { writer in
            writer.put(bytes)
            writer.put(CollectionOfOne(0))
        }
    }

    /// A number that is not negative, from its bytes, most significant first.
    mutating func integer(_ magnitude: [UInt8]) {
        self.wrap(Tag.integer) { writer in
            let significant = magnitude.drop { $0 == 0 }
            writer.put(significant)
            if (significant.first ?? 0x80) & 0x80 != 0 { writer.put(CollectionOfOne(0)) }
        }
    }

    /// A moment as RFC 5280 §4.1.2.5 wants it: UTCTime through 2049, GeneralizedTime from 2050.
    mutating func time(_ unixSeconds: Int64) {
        let (days, second) = unixSeconds.quotientAndRemainderFloored(by: 86_400)
        let date = CivilDate(daysSince1970: days)
        let isShort = (1950...2049).contains(date.year)
        self.wrap(isShort ? Tag.utcTime : Tag.generalizedTime) { writer in
            writer.put(CollectionOfOne(UInt8(ascii: "Z")))
            writer.digits(second % 60, 2)
            writer.digits(second / 60 % 60, 2)
            writer.digits(second / 3600, 2)
            writer.digits(date.day, 2)
            writer.digits(date.month, 2)
            writer.digits(isShort ? date.year % 100 : date.year, isShort ? 2 : 4)
        }
    }

    private mutating func digits(_ value: Int64, _ count: Int) {
        var rest = value
        for _ in 0..<count {
            self.reversed.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        }
    }
}

/// A day of the Gregorian calendar.
private struct CivilDate {
    let year: Int64
    let month: Int64
    let day: Int64

    /// Counts in eras of 400 years that begin in March, so that the leap day comes last.
    init(daysSince1970: Int64) {
        let (era, dayOfEra) = (daysSince1970 + 719_468).quotientAndRemainderFloored(by: 146_097)
        let yearOfEra =
            (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        self.day = dayOfYear - (153 * shifted + 2) / 5 + 1
        self.month = shifted < 10 ? shifted + 3 : shifted - 9
        self.year = yearOfEra + era * 400 + (self.month <= 2 ? 1 : 0)
    }
}

extension Int64 {
    /// Division that rounds down, with a remainder that is never negative; `divisor` is positive.
    fileprivate func quotientAndRemainderFloored(by divisor: Int64) -> (Int64, Int64) {
        let (quotient, remainder) = self.quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
