/// Durations in the notation of Go, which SPIRE's configuration and flags use.
package enum GoDuration {
    /// Reads text such as `1h30m`, `10s`, `1.5h`, `250ms` or `0`.
    ///
    /// Units are `h`, `m`, `s`, `ms`, `us` (also `µs`) and `ns`; there is no unit for days. A sign may
    /// stand in front.
    ///
    /// - Returns: The duration, or nil when the text has another form or exceeds about 292 years.
    package static func parse(_ text: String) -> Duration? {
        var rest = text.unicodeScalars[...]
        let negative = rest.first == "-"
        if rest.first == "-" || rest.first == "+" { rest = rest.dropFirst() }
        if rest.elementsEqual("0".unicodeScalars) { return .zero }
        guard !rest.isEmpty else { return nil }
        var total: Int64 = 0
        while !rest.isEmpty {
            let whole = rest.prefix { ("0"..."9").contains($0) }
            rest = rest.dropFirst(whole.count)
            var fraction = Substring.UnicodeScalarView()
            if rest.first == "." {
                rest = rest.dropFirst()
                fraction = rest.prefix { ("0"..."9").contains($0) }
                rest = rest.dropFirst(fraction.count)
            }
            guard !whole.isEmpty || !fraction.isEmpty else { return nil }
            let unitText = rest.prefix { !("0"..."9").contains($0) && $0 != "." }
            rest = rest.dropFirst(unitText.count)
            guard let unit = GoDuration.nanoseconds(perUnit: String(unitText)) else { return nil }
            guard let value = whole.isEmpty ? 0 : Int64(String(whole)) else { return nil }
            let (nanoseconds, overflow) = value.multipliedReportingOverflow(by: unit)
            let part = GoDuration.fraction(fraction, of: unit)
            let (sum, sumOverflow) = total.addingReportingOverflow(nanoseconds)
            let (next, partOverflow) = sum.addingReportingOverflow(part)
            if overflow || sumOverflow || partOverflow { return nil }
            total = next
        }
        return .nanoseconds(negative ? -total : total)
    }

    /// Writes a duration as Go prints it: `1h30m0s`, `10s`, `1.5s`, `250ms`, `0s`.
    package static func format(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let negative = seconds < 0 || attoseconds < 0
        let whole = seconds.magnitude
        let nanoseconds = attoseconds.magnitude / 1_000_000_000
        if whole == 0, nanoseconds == 0 { return "0s" }
        let sign = negative ? "-" : ""
        if whole == 0 {
            if nanoseconds < 1000 { return "\(sign)\(nanoseconds)ns" }
            return nanoseconds < 1_000_000
                ? sign + decimal(nanoseconds / 1000, nanoseconds % 1000, digits: 3) + "µs"
                : sign + decimal(nanoseconds / 1_000_000, nanoseconds % 1_000_000, digits: 6) + "ms"
        }
        var text = sign
        let hours = whole / 3600
        let minutes = whole / 60 % 60
        if hours > 0 { text += "\(hours)h" }
        if hours > 0 || minutes > 0 { text += "\(minutes)m" }
        return text + decimal(whole % 60, nanoseconds, digits: 9) + "s"
    }

    private static func decimal(_ whole: UInt64, _ fraction: UInt64, digits: Int) -> String {
        guard fraction > 0 else { return String(whole) }
        var text = String(fraction)
        text = String(repeating: "0", count: max(0, digits - text.count)) + text
        while text.last == "0" { text.removeLast() }
        return "\(whole).\(text)"
    }

    private static func nanoseconds(perUnit unit: String) -> Int64? {
        switch unit {
        case "ns": 1
        case "us", "µs", "μs": 1000
        case "ms": 1_000_000
        case "s": 1_000_000_000
        case "m": 60_000_000_000
        case "h": 3_600_000_000_000
        default: nil
        }
    }

    /// What the digits after the point are worth; digits beyond the ninth do not count.
    private static func fraction(_ digits: Substring.UnicodeScalarView, of unit: Int64) -> Int64 {
        var result: Int64 = 0
        var scale: Int64 = 1
        for digit in digits.prefix(12) {
            scale *= 10
            let value = Int64(digit.value - 0x30)
            // unit ≤ 3.6e12 and scale ≤ 1e12: the product stays below 2^63 for one digit.
            result += value * unit / scale
        }
        return result
    }
}
