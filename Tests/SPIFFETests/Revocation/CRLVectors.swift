import Foundation

/// CRLs made with Python's `cryptography`, by the authority `acme` with P-256 key 0xC0FFEE; DER in base64.
///
/// ```python
/// b = x509.CertificateRevocationListBuilder().issuer_name(acme).last_update(t).next_update(t + 10 min)
/// b = b.add_revoked_certificate(RevokedCertificateBuilder().serial_number(s).revocation_date(t + 5 s).build())
/// b = b.add_extension(AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
/// b = b.add_extension(CRLNumber(7), False).sign(key, SHA256())   # t is 2026-01-01T00:00:00Z
/// ```
///
/// `good` names 5, 0x80 (keyCompromise) and 0x7fabab…ab of 20 octets (certificateHold); the others name 5.
enum CRLVectors {
    static let authority = """
        MIIBTzCB9aADAgECAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBGFjbWUwHhcNMjYwMTAxMDAwMDAwWhcNMzUx\
        MjMwMDAwMDAwWjAPMQ0wCwYDVQQDDARhY21lMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE02AzL62byDr6/0p0\
        DeilFr8bj7P942D/HQOXnB+UPuLopmAH/SdrAnEmXG2wksSgxeuMRf3ENlAsiglfXVdF8qNCMEAwDwYDVR0TAQH/\
        BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwHQYDVR0OBBYEFDSYsYaKuDx++Ru945sNppzbcrALMAoGCCqGSM49BAMC\
        A0kAMEYCIQCfX/j9jSoSmIVkkCQgQMGQSb2umHmA2mNCqhMrk+LV6wIhAIEYImxSP3AzNlAUpviGFGBXCcBBGBY1\
        YSB44ZZGrlfE
        """
    static let authorityWithoutCRLSign = """
        MIIBTjCB9aADAgECAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBGFjbWUwHhcNMjYwMTAxMDAwMDAwWhcNMzUx\
        MjMwMDAwMDAwWjAPMQ0wCwYDVQQDDARhY21lMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE02AzL62byDr6/0p0\
        DeilFr8bj7P942D/HQOXnB+UPuLopmAH/SdrAnEmXG2wksSgxeuMRf3ENlAsiglfXVdF8qNCMEAwDwYDVR0TAQH/\
        BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAgQwHQYDVR0OBBYEFDSYsYaKuDx++Ru945sNppzbcrALMAoGCCqGSM49BAMC\
        A0gAMEUCIAvsFmJZ/cIK0JVcUqzxCsTsPtKriJaq7nisyNlFnonmAiEAtzOrct8PYFWt9SIhZGEOHgtKIGkE6rfo\
        ESneOGXyEcU=
        """
    static let good = """
        MIIBNTCB3QIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARhY21lFw0yNjAxMDEwMDAwMDBaFw0yNjAxMDEwMDEw\
        MDBaMGwwEgIBBRcNMjYwMTAxMDAwMDA1WjAhAgIAgBcNMjYwMTAxMDAwMDA1WjAMMAoGA1UdFQQDCgEBMDMCFH+r\
        q6urq6urq6urq6urq6urq6urFw0yNjAxMDEwMDAwMDVaMAwwCgYDVR0VBAMKAQagLzAtMB8GA1UdIwQYMBaAFDSY\
        sYaKuDx++Ru945sNppzbcrALMAoGA1UdFAQDAgEHMAoGCCqGSM49BAMCA0cAMEQCIGpBzke/vnfnAmBeWY15qAGB\
        ilbrPCKLIGCp2RXHvy0QAiA5wFdHkKnlRgEoszGBBw+ae3vRwMlqjqQcDtGB5+GORg==
        """
    static let empty = """
        MIHGMG8CAQEwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEYWNtZRcNMjYwMTAxMDAwMDAwWhcNMjYwMTAxMDAxMDAw\
        WqAvMC0wHwYDVR0jBBgwFoAUNJixhoq4PH75G73jmw2mnNtysAswCgYDVR0UBAMCAQcwCgYIKoZIzj0EAwIDRwAw\
        RAIgCCf27eHRzYeH/C3rmOMiqIaT2iMqJZyjo+p8G15z19cCIC35DR7CxUHgkCMQVmtxnenyZOuYX1jcI5fsDtyR\
        XRGR
        """
    static let otherKey = """
        MIHdMIGFAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBGFjbWUXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowFDASAgEFFw0yNjAxMDEwMDAwMDVaoC8wLTAfBgNVHSMEGDAWgBQ0mLGGirg8fvkbveObDaac23KwCzAKBgNV\
        HRQEAwIBBzAKBggqhkjOPQQDAgNHADBEAiAzCKHLhaKxjm8dmf+OLRLqxPi1sRV3w4GD9qvG6oZoQAIgPjKUt2zU\
        UtVkhxlmzHQnvhUd+lbi242weMxRMd22nLw=
        """
    static let otherName = """
        MIHfMIGGAgEBMAoGCCqGSM49BAMCMBAxDjAMBgNVBAMMBW90aGVyFw0yNjAxMDEwMDAwMDBaFw0yNjAxMDEwMDEw\
        MDBaMBQwEgIBBRcNMjYwMTAxMDAwMDA1WqAvMC0wHwYDVR0jBBgwFoAUNJixhoq4PH75G73jmw2mnNtysAswCgYD\
        VR0UBAMCAQcwCgYIKoZIzj0EAwIDSAAwRQIgDt9tIoN9CssiUoLlQwalKhcYj6cdk/6v3OOLJUvaM5gCIQDDZxJX\
        SRvzea7yNX+6/U4HAm1c5qpJOd/6K9wYolSUCA==
        """
    static let delta = """
        MIHuMIGUAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBGFjbWUXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowFDASAgEFFw0yNjAxMDEwMDAwMDVaoD4wPDAfBgNVHSMEGDAWgBQ0mLGGirg8fvkbveObDaac23KwCzAKBgNV\
        HRQEAwIBBzANBgNVHRsBAf8EAwIBAzAKBggqhkjOPQQDAgNJADBGAiEAh1w+/IW1rzxn6eIcovshQybtEcT8HEso\
        B4+9wAJ4AEUCIQCuKJVaJWrx8qj5NuLiZ9JdNZhnvDnxujXkBQE1OD4vEA==
        """
    static let distributionPoint = """
        MIHwMIGWAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBGFjbWUXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowFDASAgEFFw0yNjAxMDEwMDAwMDVaoEAwPjAfBgNVHSMEGDAWgBQ0mLGGirg8fvkbveObDaac23KwCzAKBgNV\
        HRQEAwIBBzAPBgNVHRwBAf8EBTADgQH/MAoGCCqGSM49BAMCA0kAMEYCIQDVqs3SS7uuJvjCtoFIYBBk0/GpmxCK\
        TMjZ8m+L9sfOFAIhAPsT5IikB9wgAe6Vycr7XNv60HBDPmFE0wNw+KP185MB
        """
    static let criticalUnknown = """
        MIHtMIGTAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBGFjbWUXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowFDASAgEFFw0yNjAxMDEwMDAwMDVaoD0wOzAfBgNVHSMEGDAWgBQ0mLGGirg8fvkbveObDaac23KwCzAKBgNV\
        HRQEAwIBBzAMBgMqAwQBAf8EAgUAMAoGCCqGSM49BAMCA0kAMEYCIQCjrNL0+hXOrqSgNwkpuW6PtEGhKEmeIj16\
        xUJvOIsYPAIhAOcd6rSNhArXhxXoCKGF90oJXM/BMtma900F8d5bsi5f
        """
    static let unknown = """
        MIHpMIGQAgEBMAoGCCqGSM49BAMCMA8xDTALBgNVBAMMBGFjbWUXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowFDASAgEFFw0yNjAxMDEwMDAwMDVaoDowODAfBgNVHSMEGDAWgBQ0mLGGirg8fvkbveObDaac23KwCzAKBgNV\
        HRQEAwIBBzAJBgMqAwQEAgUAMAoGCCqGSM49BAMCA0gAMEUCIEvmw4cC2GPPAUzD8LQ7U9DbXX8HOLl7hmyLRy0B\
        UHlnAiEA9a1MnmewHtIp27L9OrIi9OsbFgECbpYr7bUD9eMaZaQ=
        """

    static func der(_ base64: String) -> [UInt8] {
        Data(base64Encoded: base64).map(Array.init) ?? []
    }
}
