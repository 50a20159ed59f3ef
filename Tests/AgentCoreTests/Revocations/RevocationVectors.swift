import Foundation

/// Lists made by software that is not ours (Python `cryptography`), with the keys thrown away:
///
///     name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme.test")])
///     def ca(key, h=hashes.SHA256()):
///         ... .serial_number(7).add_extension(x509.BasicConstraints(True, None), True)
///             .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False).sign(key, h)
///     def crl(key, serials=(), aki=None, h=hashes.SHA256(), extra=(), entry=()):
///         b = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(T).next_update(T + 10 min)
///         b = b.add_extension(x509.CRLNumber(3), False)
///         if aki is not False: b = b.add_extension(
///             x509.AuthorityKeyIdentifier.from_issuer_public_key((aki or key).public_key()), False)
///         for e, c in extra: b = b.add_extension(e, c)
///         for n in serials:
///             r = x509.RevokedCertificateBuilder().serial_number(n).revocation_date(T)
///             for e, c in entry: r = r.add_extension(e, c)
///             b = b.add_revoked_certificate(r.build())
///         return b.sign(key, h).public_bytes(S.Encoding.DER)
///     authority, other = ca(P), ca(Q); empty = crl(P)
///     three = crl(P, [1, 0x80, 0xffeeddccbbaa99887766554433221100], entry=[CRLReason keyCompromise])
///     held = crl(P, [0x1234], entry=[CRLReason certificateHold]); forged = crl(Q, [1], aki=P); ofOther = crl(Q, [1])
///     rsa = crl(R, [5]); p384 = crl(E3, [5], h=SHA384); ed25519 = crl(D, [5], h=None); nameless = crl(P, [1], aki=False)
///     delta = crl(P, [1], extra=[(DeltaCRLIndicator(2), True)])
///     partial = crl(P, [1], extra=[(IssuingDistributionPoint(only_contains_user_certs=True), True)])
///     indirect = crl(P, [1], entry=[(CertificateIssuer([DirectoryName(name)]), True)])
enum RevocationVectors {
    private static func bytes(_ text: String) -> [UInt8] {
        Data(base64Encoded: text).map { [UInt8]($0) } ?? []
    }

    static let authority = bytes(
        """
        MIIBSzCB8aADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdDAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2\
        MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJYWNtZS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+dqf8DQDX3b/jxt0\
        aUNdv+tk8+Qiksw3M8hLIEz7Q3jmowRGLDj7sp95G5E1w+kA4x9LSi2nnAHUAuYtDhqnUaMyMDAwDwYDVR0TAQH/BAUwAwEB\
        /zAdBgNVHQ4EFgQUMG3PwVDWg/9mvRq8WegwMWeHHyYwCgYIKoZIzj0EAwIDSQAwRgIhAMbMD8dbL0OwMKOrxwbX0QHRJu6c\
        RPyj9WRDuJtDl8HMAiEA+NwM5C3uy/dLFCYq0omEk5LYERM7IJS9xWvS2rWudXs=
        """)
    static let other = bytes(
        """
        MIIBSTCB8aADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdDAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2\
        MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJYWNtZS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdR2lx/47WcJ8VRvk\
        XKtb8A+Xck0lsQmxHZ3y8QWU/Dsbif9O+91h4zUb2/3iKe2tEe59hF1oQ5S9LWO8ZuQIP6MyMDAwDwYDVR0TAQH/BAUwAwEB\
        /zAdBgNVHQ4EFgQUAmAzkkCh2c5LnwHq6rf7oaeAuiYwCgYIKoZIzj0EAwIDRwAwRAIgPz7CRCKapljX9Ugjv0F5L9nKtOjI\
        h+LjVkT1HyNtdnsCIGYthGCJctkx0v/y7IrddY/w00Bbd4zCvT9RvbalmWvC
        """)
    static let rsaAuthority = bytes(
        """
        MIIC1zCCAb+gAwIBAgIBBzANBgkqhkiG9w0BAQsFADAUMRIwEAYDVQQDDAlhY21lLnRlc3QwIBcNMjYwMTAxMDAwMDAwWhgP\
        MjEyNjAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWFjbWUudGVzdDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAMqF\
        BU6TgFYvlJtFIllH3m1uXDd2EeVG/RhFfQfiyWAvwR3afVWAzRIgj6OQx8rv9elUz2p0txRXRslhyXBEoGuEhD61ZTXYd9v0\
        9rZQz7ZoUwg5jVF67N/l5LR6rgyyGChg/n3SiXmftFTFoA44w1PrHt1iBO0G4SvNUBES7EfFjKTGAap9LoKZdOhbTLjPvtoe\
        PZE/2f97TyblZHEx89MwZi6eTiuQBVrQ+5kWvx5kbKNncuFIWMFz4qfrNzNlCzqgBfhyNMku+gh2L9y/CAIFx+sjm8vjjnoR\
        VK5NH1gi/kJLQDb2Btn7snUxDLi+86ZCJhJNdAMQkEqacVIIzqECAwEAAaMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4E\
        FgQUrwazSOPTqAC0g1hQHbOzPj9d1O8wDQYJKoZIhvcNAQELBQADggEBAIXdCZ7Nff2D9vqg5FiArZUB3w3H6xb+ap0QYG7Y\
        6aW26SfqS/RgahZmgmVGrFHHvvNI9Dp4drWDjaaemwEpJcH8KZrpAt8zrEB1/r4poDDTnPSrKeRDCBVxBRqZXMlev8v+Jzvo\
        hnVA1BnJpHaPJyRzezcnzKo1qwl+YR6qDczGxYxtr2r28EF1qxAUUsqMs+Zf+xWkXK1lELWQhArHq9YtQPyckmG+n3CoeLbR\
        tzN/bf9NXmUG/t1Tm0r43ZV82iI8rHya5j1bMrTG9qEC2SJaq9PIXq26eZ8jy6g0fw+eVdMTxZACuVUodzB0WUzYrVDkr5f9\
        7zLW0OAX7uz6vpc=
        """)
    static let p384Authority = bytes(
        """
        MIIBiDCCAQ6gAwIBAgIBBzAKBggqhkjOPQQDAzAUMRIwEAYDVQQDDAlhY21lLnRlc3QwIBcNMjYwMTAxMDAwMDAwWhgPMjEy\
        NjAxMDEwMDAwMDBaMBQxEjAQBgNVBAMMCWFjbWUudGVzdDB2MBAGByqGSM49AgEGBSuBBAAiA2IABOcoewLhelGKtVMTPeX/\
        5UBUIyp3jFOFNhuPUzqTJBOGBWPnLkXp4aZox0oM12oOmTMKB8Q+ECBD/ObzRWKazc1hz1V9l5xA1/Q+3g/lhbpGqSJMol9h\
        AwZ5CPEm4jLzCqMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUcrIlDa3Vs5DilYIgIk3gtAQNoYMwCgYIKoZIzj0E\
        AwMDaAAwZQIwaKyYtBPpTiBwNYyJo7zjHLf3szofWVle6y5pxjCf+wa4wctheVuKsts5jzDmotSiAjEAvE4B6Ctve5LxKhqd\
        31UfL/3Iv2CvuAuo81jzsjn+DiDxMtIFehzw0IxqHfx6g4qs
        """)
    static let ed25519Authority = bytes(
        """
        MIIBCjCBvaADAgECAgEHMAUGAytlcDAUMRIwEAYDVQQDDAlhY21lLnRlc3QwIBcNMjYwMTAxMDAwMDAwWhgPMjEyNjAxMDEw\
        MDAwMDBaMBQxEjAQBgNVBAMMCWFjbWUudGVzdDAqMAUGAytlcAMhAKMhId75ADtMyis5y+jwgAaHi6jZTlBHrCAH20OJLGgn\
        ozIwMDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBQzXdC19Fh8n4SDpWweQA1LYHufCTAFBgMrZXADQQBfmx6p8MxwlyMI\
        Uvcon7B6lgFoP+pUpEelD5mGDrbiGFG2PFDKssRdNIqVvgcWPNDCZC8OeYSMH8sNkXhYonIO
        """)
    static let empty = bytes(
        """
        MIHMMHQCAQEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJYWNtZS50ZXN0Fw0yNjAxMDEwMDAwMDBaFw0yNjAxMDEwMDEwMDBa\
        oC8wLTAKBgNVHRQEAwIBAzAfBgNVHSMEGDAWgBQwbc/BUNaD/2a9GrxZ6DAxZ4cfJjAKBggqhkjOPQQDAgNIADBFAiEAhitN\
        QQV5VrPFOjiHfFm9u5qkYps47cbS1rBrOrb0NJQCICR7Fx9OisR2OSMipyzbuGoekh67MRefLaKTOAVRjVMh
        """)
    static let three = bytes(
        """
        MIIBRTCB7QIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhY21lLnRlc3QXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowdzAgAgEBFw0yNjAxMDEwMDAwMDBaMAwwCgYDVR0VBAMKAQEwIQICAIAXDTI2MDEwMTAwMDAwMFowDDAKBgNVHRUEAwoB\
        ATAwAhEA/+7dzLuqmYh3ZlVEMyIRABcNMjYwMTAxMDAwMDAwWjAMMAoGA1UdFQQDCgEBoC8wLTAKBgNVHRQEAwIBAzAfBgNV\
        HSMEGDAWgBQwbc/BUNaD/2a9GrxZ6DAxZ4cfJjAKBggqhkjOPQQDAgNHADBEAiBsEK2wZHZLnmOxxuA44sToQCM9FHJDe7Y0\
        ZffJInMvMgIgRWYHwPMBbwN4gyNo4nvAaqfR6Absw+lsIfNZi8nSgzc=
        """)
    static let held = bytes(
        """
        MIHyMIGZAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdBcNMjYwMTAxMDAwMDAwWhcNMjYwMTAxMDAxMDAw\
        WjAjMCECAhI0Fw0yNjAxMDEwMDAwMDBaMAwwCgYDVR0VBAMKAQagLzAtMAoGA1UdFAQDAgEDMB8GA1UdIwQYMBaAFDBtz8FQ\
        1oP/Zr0avFnoMDFnhx8mMAoGCCqGSM49BAMCA0gAMEUCIE/KI155vdS0khxOJLLHETJy7ore0s4+Qb2K96TNIsWTAiEA+E93\
        gbSaTEC3bIKn5wf/xIfCAuLdozBXY9y/62MpBEM=
        """)
    static let forged = bytes(
        """
        MIHkMIGKAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdBcNMjYwMTAxMDAwMDAwWhcNMjYwMTAxMDAxMDAw\
        WjAUMBICAQEXDTI2MDEwMTAwMDAwMFqgLzAtMAoGA1UdFAQDAgEDMB8GA1UdIwQYMBaAFDBtz8FQ1oP/Zr0avFnoMDFnhx8m\
        MAoGCCqGSM49BAMCA0kAMEYCIQD311x7kOPzuY56gzBC5xkmSNcw0ipPSVKWW57hkPkW4gIhAMJpzj/J3uvoPyCW77IrDV4P\
        Viz21Y/nxf0tErNZfW7L
        """)
    static let ofOther = bytes(
        """
        MIHiMIGKAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdBcNMjYwMTAxMDAwMDAwWhcNMjYwMTAxMDAxMDAw\
        WjAUMBICAQEXDTI2MDEwMTAwMDAwMFqgLzAtMAoGA1UdFAQDAgEDMB8GA1UdIwQYMBaAFAJgM5JAodnOS58B6uq3+6GngLom\
        MAoGCCqGSM49BAMCA0cAMEQCIFWqXAK69EJBRs9wv5wP6GHX+FcQ8PRyX4Ny1TED6pqmAiADtswaNtGMJL797pgZMtVZwrOL\
        VmO8zB1E2WLRVRB3Dg==
        """)
    static let rsa = bytes(
        """
        MIIBpDCBjQIBATANBgkqhkiG9w0BAQsFADAUMRIwEAYDVQQDDAlhY21lLnRlc3QXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAw\
        MTAwMFowFDASAgEFFw0yNjAxMDEwMDAwMDBaoC8wLTAKBgNVHRQEAwIBAzAfBgNVHSMEGDAWgBSvBrNI49OoALSDWFAds7M+\
        P13U7zANBgkqhkiG9w0BAQsFAAOCAQEAAzRLvPix/459aZX1v3INhyzqLJHfrR8TbX4t0KwudmsUhRAXyFPbf5QMyKAip3UR\
        6bxJWN4CZsnn+GVqbFP3UmdsB75i39O7jMetIjgIkDUEWckhwakaoIGbyUD51zcmsG84dNPlfAuMVJdYJo+BIWFh5EWeDHKw\
        gtEc3zKrTu9lkNvnD55TY2KfxaYmZt+T5sV8/H+WDiNYl4yqiNHP8R2VC+t6fUbUKGgi/4YIw5WZS/2lhAy9Gua3ef/QcBfm\
        MtKcb7ngJ87I3BtxwvM2/lnCcxWxeDeTDupmIAcmLFijxAOTF/zSqJ9GnR6S+YlXlV3jW0fEfBgkCo5FWo2xIQ==
        """)
    static let p384 = bytes(
        """
        MIIBBDCBigIBATAKBggqhkjOPQQDAzAUMRIwEAYDVQQDDAlhY21lLnRlc3QXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowFDASAgEFFw0yNjAxMDEwMDAwMDBaoC8wLTAKBgNVHRQEAwIBAzAfBgNVHSMEGDAWgBRysiUNrdWzkOKVgiAiTeC0BA2h\
        gzAKBggqhkjOPQQDAwNpADBmAjEAxL9itntf+7NzSEr348a5s/BVSGUSrLDRQz+DwxbbfMgaLmGr673j6SGoAAfHP4H0AjEA\
        tXShIYHK3+kwof9ZSWAOPb2XGFiSrc+qW1Lsys9FfYp+s4Pf35gTXz9lImm/Ik8v
        """)
    static let ed25519 = bytes(
        """
        MIHSMIGFAgEBMAUGAytlcDAUMRIwEAYDVQQDDAlhY21lLnRlc3QXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAwMFowFDAS\
        AgEFFw0yNjAxMDEwMDAwMDBaoC8wLTAKBgNVHRQEAwIBAzAfBgNVHSMEGDAWgBQzXdC19Fh8n4SDpWweQA1LYHufCTAFBgMr\
        ZXADQQCpj9ZDdVtesc24o2lsElv71Iy2pPvsDtkNvBMuHoWo7fR+PTro+fjyks3X7cAmG88z8G/ccnsJEaKleb7tFIcA
        """)
    static let nameless = bytes(
        """
        MIHAMGkCAQEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJYWNtZS50ZXN0Fw0yNjAxMDEwMDAwMDBaFw0yNjAxMDEwMDEwMDBa\
        MBQwEgIBARcNMjYwMTAxMDAwMDAwWqAOMAwwCgYDVR0UBAMCAQMwCgYIKoZIzj0EAwIDRwAwRAIgT5VW84metrX0G8bMDh4E\
        YSnasWmsZy1Vi+00PfN46MMCIDE+5hK9EvUaYgrHCbHfFQTo8yHT6eE0f4EXpF3PmE63
        """)
    static let delta = bytes(
        """
        MIHyMIGZAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdBcNMjYwMTAxMDAwMDAwWhcNMjYwMTAxMDAxMDAw\
        WjAUMBICAQEXDTI2MDEwMTAwMDAwMFqgPjA8MAoGA1UdFAQDAgEDMB8GA1UdIwQYMBaAFDBtz8FQ1oP/Zr0avFnoMDFnhx8m\
        MA0GA1UdGwEB/wQDAgECMAoGCCqGSM49BAMCA0gAMEUCIQCCQO5Wg1PcmZadGmOUuy3LyXCYi3OVvAUmY0FQRLq9OQIgUaOd\
        Oq9bvEyd0ZivCTSe8cAWP/H9r27hKDGig31Rqmw=
        """)
    static let partial = bytes(
        """
        MIHzMIGbAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdBcNMjYwMTAxMDAwMDAwWhcNMjYwMTAxMDAxMDAw\
        WjAUMBICAQEXDTI2MDEwMTAwMDAwMFqgQDA+MAoGA1UdFAQDAgEDMB8GA1UdIwQYMBaAFDBtz8FQ1oP/Zr0avFnoMDFnhx8m\
        MA8GA1UdHAEB/wQFMAOBAf8wCgYIKoZIzj0EAwIDRwAwRAIgEzmNcuegrkmbw09SrCVKcAdWPqUdnyJlAHPA4lYrVmQCIAI8\
        Yu952lHtpl+wl8luKWYOSTADFJbK2bbXgm3c1+ym
        """)
    static let indirect = bytes(
        """
        MIIBDDCBsgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhY21lLnRlc3QXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowPDA6AgEBFw0yNjAxMDEwMDAwMDBaMCYwJAYDVR0dAQH/BBowGKQWMBQxEjAQBgNVBAMMCWFjbWUudGVzdKAvMC0wCgYD\
        VR0UBAMCAQMwHwYDVR0jBBgwFoAUMG3PwVDWg/9mvRq8WegwMWeHHyYwCgYIKoZIzj0EAwIDSQAwRgIhAOWdM93OLtRy56Y1\
        xODA5t++1SVz6FJVGPM8Vp2yLVdrAiEAwSX+3zAnM7WgSarvy4zyR3Wpi9GJEXL4vZ9e4KdXghI=
        """)
}
