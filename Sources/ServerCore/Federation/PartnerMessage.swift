/// What operators are told of trouble with a partner.
enum PartnerMessage {
    /// The error's description, bounded and in one line: it may carry what the partner sent.
    static func text(of error: any Error) -> String {
        String(
            String.UnicodeScalarView(
                "\(error)".unicodeScalars.prefix(400).map { scalar in
                    scalar.value < 0x20 || scalar.value == 0x7F ? " " : scalar
                }))
    }
}
