import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The date of responses (RFC 9110 §5.6.7), written once a second.
package final class HTTPDate: Sendable {
    private let last = NIOLockedValueBox<(second: Int, text: String)>((.min, ""))

    /// The date of now.
    var text: String {
        let second = time(nil)
        return self.last.withLockedValue { last in
            if last.second != second { last = (second, Self.format(second)) }
            return last.text
        }
    }

    /// A Unix time such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    package static func format(_ second: Int) -> String {
        var time = time_t(second)
        var parts = tm()
        guard gmtime_r(&time, &parts) != nil else { return "" }
        func padded(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let year = 1900 + Int(parts.tm_year)
        return
            "\(days[Int(parts.tm_wday)]), \(padded(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(year) "
            + "\(padded(parts.tm_hour)):\(padded(parts.tm_min)):\(padded(parts.tm_sec)) GMT"
    }
}
