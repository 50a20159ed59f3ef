/// The extension of a certificate that says where its CRL is (RFC 5280 §4.2.1.13).
enum CRLDistributionPoints {
    private enum Tag {
        /// `distributionPoint`, and in it `fullName`.
        static let explicitZero: UInt8 = 0xA0
        /// `[6]` of GeneralName.
        static let uri: UInt8 = 0x86
    }

    private static let identifier: [UInt8] = [0x06, 0x03, 0x55, 0x1D, 0x1F]

    /// One place that has all reasons, not critical, in DER.
    ///
    /// - Parameter uri: ASCII.
    static func `extension`(uri: String) -> [UInt8] {
        var writer = DERWriter(capacity: 160)
        writer.sequence { writer in
            writer.octetString { writer in
                writer.sequence { writer in
                    writer.sequence { writer in
                        writer.wrap(Tag.explicitZero) { writer in
                            writer.wrap(Tag.explicitZero) { writer in
                                writer.wrap(Tag.uri) { $0.put(Array(uri.utf8)) }
                            }
                        }
                    }
                }
            }
            writer.put(Self.identifier)
        }
        return writer.bytes
    }
}
