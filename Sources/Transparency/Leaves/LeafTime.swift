/// An instant as leaves have it: RFC 3339 in UTC, with milliseconds or without a fraction.
package struct LeafTime: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Milliseconds since 1970-01-01 in UTC, without leap seconds; years 0001 to 9999.
    package let milliseconds: Int64

    private static let range: ClosedRange<Int64> = -62_135_596_800_000...253_402_300_799_999

    /// - Parameter milliseconds: Since 1970; times outside the years 0001 to 9999 become the nearest in them.
    package init(milliseconds: Int64) {
        self.milliseconds = min(max(milliseconds, Self.range.lowerBound), Self.range.upperBound)
    }

    /// A whole second, as Unix counts them.
    package init(seconds: Int64) {
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        self.init(milliseconds: overflow ? (seconds < 0 ? .min : .max) : product)
    }

    /// Reads `YYYY-MM-DDThh:mm:ssZ`, with up to nine digits of a fraction; what is finer than a millisecond is cut.
    ///
    /// - Returns: nil for every other form, other zones, and days and times that do not exist.
    package init?(parsing text: String) {
        let utf8 = Array(text.utf8)
        guard (20...30).contains(utf8.count), utf8.last == UInt8(ascii: "Z") else { return nil }
        let form = Array("dddd-dd-ddTdd:dd:dd".utf8)
        for (index, expected) in form.enumerated() where expected != UInt8(ascii: "d") {
            guard utf8[index] == expected else { return nil }
        }
        func number(_ range: Range<Int>) -> Int64? {
            var value: Int64 = 0
            for byte in utf8[range] {
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
                value = value * 10 + Int64(byte - UInt8(ascii: "0"))
            }
            return value
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13), let minute = number(14..<16), let second = number(17..<19),
            (1...9999).contains(year), (1...12).contains(month), day >= 1,
            day <= Self.days(in: month, of: year), hour < 24, minute < 60, second < 60
        else { return nil }
        var milliseconds: Int64 = 0
        if utf8.count > 20 {
            guard utf8[19] == UInt8(ascii: "."), utf8.count > 21, number(20..<utf8.count - 1) != nil
            else { return nil }
            for place in 20..<23 {
                let digit = place < utf8.count - 1 ? Int64(utf8[place] - UInt8(ascii: "0")) : 0
                milliseconds = milliseconds * 10 + digit
            }
        }
        let days = Self.daysSince1970(year, month, day)
        self.init(
            milliseconds: (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milliseconds)
    }

    package static func < (left: LeafTime, right: LeafTime) -> Bool {
        left.milliseconds < right.milliseconds
    }

    /// With a fraction of three digits unless it is a whole second.
    package var description: String {
        var text: [UInt8] = []
        self.append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    private var seconds: Int64 { Self.floor(self.milliseconds, by: 1000) }

    /// Division that rounds down, also below zero.
    private static func floor(_ value: Int64, by divisor: Int64) -> Int64 {
        value / divisor - (value % divisor < 0 ? 1 : 0)
    }

    /// Appends ``description``.
    func append(to text: inout [UInt8]) {
        let day = Self.floor(self.seconds, by: 86_400)
        let rest = self.seconds - day * 86_400
        // Days counted from 1 March of the year 0, so that a leap day ends a year.
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * ofYear + 2) / 153
        let dayOfMonth = ofYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        Self.append(year, 4, "-", to: &text)
        Self.append(month, 2, "-", to: &text)
        Self.append(dayOfMonth, 2, "T", to: &text)
        Self.append(rest / 3600, 2, ":", to: &text)
        Self.append(rest / 60 % 60, 2, ":", to: &text)
        let fraction = self.milliseconds - self.seconds * 1000
        Self.append(rest % 60, 2, fraction == 0 ? "Z" : ".", to: &text)
        if fraction != 0 { Self.append(fraction, 3, "Z", to: &text) }
    }

    private static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let ofEra = year - era * 400
        let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
    }

    private static func days(in month: Int64, of year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Appends the last `width` digits of a number that is not negative, and a character.
    private static func append(
        _ value: Int64, _ width: Int, _ end: Unicode.Scalar, to text: inout [UInt8]
    ) {
        var divisor: Int64 = 1
        for _ in 1..<width { divisor *= 10 }
        while divisor > 0 {
            text.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
        text.append(UInt8(ascii: end))
    }
}
