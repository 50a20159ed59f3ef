#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Times as Go prints them: `2006-01-02 15:04:05 -0700 MST`.
package enum GoTime {
    /// A time in UTC.
    ///
    /// - Parameter seconds: Unix time.
    package static func utc(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        guard gmtime_r(&time, &parts) != nil else { return String(seconds) }
        return GoTime.dateAndTime(parts) + " +0000 UTC"
    }

    /// A time in the zone of this process.
    ///
    /// - Parameter seconds: Unix time.
    package static func local(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        guard localtime_r(&time, &parts) != nil else { return String(seconds) }
        let minutes = abs(Int(parts.tm_gmtoff)) / 60
        let sign = parts.tm_gmtoff < 0 ? "-" : "+"
        let zone = parts.tm_zone.map { String(cString: $0) } ?? ""
        return GoTime.dateAndTime(parts) + " " + sign + padded(minutes / 60, 2)
            + padded(minutes % 60, 2)
            + " " + (zone == "GMT" ? "UTC" : zone)
    }

    /// The time now, in Unix seconds.
    package static var now: Int64 { Int64(time(nil)) }

    /// Whether text has the form `2006-01-02 15:04:05 -0700 -07`, which filters by time take.
    package static func isFilterTime(_ text: String) -> Bool {
        let pattern = "dddd-dd-dd dd:dd:dd sdddd sdd"
        guard text.utf8.count == pattern.utf8.count else { return false }
        return zip(text.utf8, pattern.utf8).allSatisfy { byte, expected in
            switch expected {
            case UInt8(ascii: "d"): (0x30...0x39).contains(byte)
            case UInt8(ascii: "s"): byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
            default: byte == expected
            }
        }
    }

    private static func dateAndTime(_ parts: tm) -> String {
        padded(Int(parts.tm_year) + 1900, 4) + "-" + padded(Int(parts.tm_mon) + 1, 2) + "-"
            + padded(Int(parts.tm_mday), 2) + " " + padded(Int(parts.tm_hour), 2) + ":"
            + padded(Int(parts.tm_min), 2) + ":" + padded(Int(parts.tm_sec), 2)
    }

    private static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
